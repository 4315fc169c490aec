"""Back ends, bundles or presets against the first of them, strictly in turn: A B C, C B A, A B C, ...

What disturbs the machine for longer than a frame disturbs all. Compared are the clock's times and the processor times of
all threads, each by the ratio of medians with a bootstrap confidence interval, and the pictures by PSNR and SSIM.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from spgvton.backends import BACKENDS, Backend, open_backend
from spgvton.backends.contract import KEYPOINTS
from spgvton.backends.samples import Sample, demo_samples, dress
from spgvton.bench.statistics import describe, ratio_of_medians
from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError, UsageError
from spgvton.ssim import BORDER, inside, psnr, ssim_map

WARM_UP: Final = 3


@dataclass(frozen=True)
class Side:
    """One of them: BACKEND[@BUNDLE][:THREADS]. bundle: a folder, or the name of a shipped preset; None = the default."""

    text: str
    backend: str
    bundle: str | None
    threads: int | None

    @staticmethod
    def parse(text: str) -> Side:
        """Raises UsageError."""
        rest, colon, threads = text.rpartition(":")
        if not colon:
            rest, threads = text, ""
        name, _, bundle = rest.partition("@")
        if (name or BACKENDS[0]) not in BACKENDS or (colon and (not threads.isdigit() or not int(threads))):
            raise UsageError(f"'{text}' is no BACKEND[@BUNDLE][:THREADS]; back ends: {', '.join(BACKENDS)}")
        return Side(text, name or BACKENDS[0], bundle or None, int(threads) if threads else None)

    def open_bundle(self) -> Bundle:
        """Raises SpgvtonError."""
        return Bundle.open(self.bundle)


@dataclass
class Timed:
    """One side: times in ms in the order of the rounds; psnr_db and ssim of its pictures against the first side's."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    psnr_db: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)

    def as_dict(self, first: Timed) -> dict[str, Any]:
        """ratio, cpu_ratio: median over FIRST's median; psnr_db, ssim: mean and worst."""
        return {
            "latency_ms": describe(self.wall),
            "cpu_ms": describe(self.cpu),
            "ratio": ratio_of_medians(first.wall, self.wall).as_dict(),
            "cpu_ratio": ratio_of_medians(first.cpu, self.cpu).as_dict(),
            "psnr_db": {"mean": round(float(np.mean(self.psnr_db)), 2), "worst": round(min(self.psnr_db), 2)},
            "ssim": {"mean": round(float(np.mean(self.ssim)), 5), "worst": round(min(self.ssim), 5)},
            "pictures": len(self.ssim),
        }


def measure(backends: Sequence[Backend], samples: list[Sample], rounds: int, done: Callable[[], object]) -> list[Timed]:
    """ROUNDS frames of each of BACKENDS on SAMPLES in turn; pictures are compared the first time each sample comes.

    done: called after each round.
    """
    found = [Timed() for _ in backends]
    for backend in backends:
        dress(backend, samples[0])
        for i in range(WARM_UP):
            backend.run(samples[i % len(samples)][KEYPOINTS])
    worn = samples[0]
    for i in range(max(rounds, len(samples))):
        sample = samples[i % len(samples)]
        if sample["cloth"] is not worn["cloth"]:
            worn = sample
            for backend in backends:
                dress(backend, sample)
                backend.run(sample[KEYPOINTS])  # the session graph belongs to the garment, not to the frame
        pictures = {}
        order = range(len(backends))
        for side in order if i % 2 == 0 else reversed(order):
            wall, cpu = time.perf_counter(), time.process_time()
            pictures[side] = backends[side].run(sample[KEYPOINTS])[0]
            found[side].cpu.append(1e3 * (time.process_time() - cpu))
            found[side].wall.append(1e3 * (time.perf_counter() - wall))
        if i < len(samples):
            everywhere = np.ones(pictures[0].shape[:2], bool)
            for side, picture in pictures.items():
                found[side].psnr_db.append(psnr(picture, pictures[0]))
                found[side].ssim.append(inside(ssim_map(picture, pictures[0]), everywhere))
        done()
    return found


def open_sides(sides: Sequence[Side], say: Callable[[str], None]) -> list[tuple[Bundle, Backend]]:
    """Bundle and back end of each. Raises SpgvtonError, also where their pictures cannot be compared."""
    bundles = [side.open_bundle() for side in sides]
    for bundle in bundles:
        if bundle.size != bundles[0].size or bundle.label_set != bundles[0].label_set:
            raise SpgvtonError(f"{bundles[0].folder} and {bundle.folder} differ in picture size or labels")
    if min(bundles[0].size) <= 2 * BORDER:
        raise SpgvtonError(f"pictures of {bundles[0].size} are too small for SSIM")
    return [(b, open_backend(s.backend, b, threads=s.threads, say=say)) for s, b in zip(sides, bundles)]


def samples_of(bundle: Bundle) -> list[Sample]:
    """Nine: three garments, three poses of each."""
    return demo_samples(bundle.size, bundle.label_set)
