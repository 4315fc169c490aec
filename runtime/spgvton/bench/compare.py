"""Two back ends, bundles or presets against each other, strictly in turn: A B, B A, A B, ...

What disturbs the machine for longer than a frame disturbs both. Compared are the clock's times and the processor times of
all threads, each by the ratio of medians with a bootstrap confidence interval, and the pictures by PSNR and SSIM.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from spgvton.backends import BACKENDS, Backend, open_backend
from spgvton.backends.contract import KEYPOINTS
from spgvton.bench.inputs import Sample, demo_samples, dress
from spgvton.bench.statistics import describe, ratio_of_medians
from spgvton.bundle import Bundle, shipped
from spgvton.errors import SpgvtonError, UsageError
from spgvton.ssim import BORDER, inside, psnr, ssim_map

WARM_UP: Final = 3


@dataclass(frozen=True)
class Side:
    """One of the two: BACKEND[@BUNDLE][:THREADS]. bundle: a folder, or the name of a shipped preset; None = the default."""

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
        if self.bundle and not Path(self.bundle).is_dir() and (shipped().parent / self.bundle).is_dir():
            return Bundle.open(shipped().parent / self.bundle)
        return Bundle.open(self.bundle)


@dataclass
class Comparison:
    """Times in ms by side, in the order of the rounds; psnr_db and ssim of B's pictures against A's, by sample."""

    wall: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    cpu: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    psnr_db: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """ratio: median of B over median of A; psnr_db, ssim: mean and worst."""
        return {
            "rounds": len(self.wall[0]),
            "latency_ms": {side: describe(t) for side, t in zip("AB", self.wall)},
            "cpu_ms": {side: describe(t) for side, t in zip("AB", self.cpu)},
            "ratio": ratio_of_medians(*self.wall).as_dict(),
            "cpu_ratio": ratio_of_medians(*self.cpu).as_dict(),
            "psnr_db": {"mean": round(float(np.mean(self.psnr_db)), 2), "worst": round(min(self.psnr_db), 2)},
            "ssim": {"mean": round(float(np.mean(self.ssim)), 5), "worst": round(min(self.ssim), 5)},
            "pictures": len(self.ssim),
        }


def measure(
    backends: tuple[Backend, Backend], samples: list[Sample], rounds: int, done: Callable[[], object]
) -> Comparison:
    """ROUNDS pairs of frames on SAMPLES in turn; pictures are compared the first time each sample comes. done: per round."""
    found = Comparison()
    for backend in backends:
        dress(backend, samples[0])
        for i in range(WARM_UP):
            backend.run(samples[i % len(samples)][KEYPOINTS])
    worn: Sample = samples[0]
    for i in range(max(rounds, len(samples))):
        sample = samples[i % len(samples)]
        if sample["cloth"] is not worn["cloth"]:
            worn = sample
            for backend in backends:
                dress(backend, sample)
                backend.run(sample[KEYPOINTS])  # the session graph belongs to the garment, not to the frame
        pictures: dict[int, Any] = {}
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            wall, cpu = time.perf_counter(), time.process_time()
            pictures[side] = backends[side].run(sample[KEYPOINTS])[0]
            found.cpu[side].append(1e3 * (time.process_time() - cpu))
            found.wall[side].append(1e3 * (time.perf_counter() - wall))
        if i < len(samples):
            found.psnr_db.append(psnr(pictures[1], pictures[0]))
            everywhere = np.ones(pictures[0].shape[:2], bool)
            found.ssim.append(inside(ssim_map(pictures[1], pictures[0]), everywhere))
        done()
    return found


def open_sides(
    sides: tuple[Side, Side], say: Callable[[str], None]
) -> tuple[tuple[Bundle, Backend], tuple[Bundle, Backend]]:
    """Both bundles and back ends. Raises SpgvtonError, also where their pictures cannot be compared."""
    bundles = sides[0].open_bundle(), sides[1].open_bundle()
    if bundles[0].size != bundles[1].size or bundles[0].label_set != bundles[1].label_set:
        raise SpgvtonError(
            f"{bundles[0].folder} and {bundles[1].folder} differ in picture size or labels: choose others"
        )
    if min(bundles[0].size) <= 2 * BORDER:
        raise SpgvtonError(f"pictures of {bundles[0].size} are too small for SSIM")
    first, second = (open_backend(s.backend, b, threads=s.threads, say=say) for s, b in zip(sides, bundles))
    return (bundles[0], first), (bundles[1], second)


def samples_of(bundle: Bundle) -> list[Sample]:
    """Nine: three garments, three poses of each."""
    return demo_samples(bundle.size, bundle.label_set)
