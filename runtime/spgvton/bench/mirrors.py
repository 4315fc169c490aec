"""What more customers cost: several mirrors on one engine, and several poses in one run.

Mirrors: each is a thread with a person and a garment of its own (Backend.sibling), which asks for its next frame as soon as
it has the last one; they take turns (backends/sharing.py). Fair is 1: the slowest mirror's frames over the fastest one's.
Batches: the joint graph, opened for that many poses; the sizes run in turn, so that all see the same machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spgvton.backends import open_backend
from spgvton.backends.contract import POSE, Backend, Mode
from spgvton.backends.samples import Sample, batch_of, by_garment, dress, frame_of
from spgvton.backends.sharing import sibling
from spgvton.bench.statistics import describe
from spgvton.bundle import Bundle

MIRRORS: Final = (1, 2, 3, 4)
BATCHES: Final = (1, 2, 4, 8)


@dataclass(frozen=True)
class Together:
    """So many mirrors at once. times: of every frame in ms by mirror, waiting for its turn included; seconds: all of it."""

    times: list[list[float]]
    seconds: float

    def row(self, alone_ms: float) -> dict[str, Any]:
        """alone_ms: time per frame of one mirror."""
        counts = [len(t) for t in self.times]
        each = describe([ms for mirror in self.times for ms in mirror])
        ms = 1e3 * self.seconds / sum(counts)
        return {
            "kind": "mirrors", "count": len(self.times), "frames": sum(counts), "ms_per_frame": round(ms, 3),
            "relative": round(ms / alone_ms, 4), "latency_p50": each["p50"], "latency_p99": each["p99"],
            "fairness": round(min(counts) / max(counts), 4),
        }  # fmt: skip

    @property
    def ms_per_frame(self) -> float:
        return 1e3 * self.seconds / sum(map(len, self.times))


def together(
    backends: Sequence[Backend], samples: Sequence[Sequence[Sample]], seconds: float, mode: Mode = POSE
) -> Together:
    """Each of BACKENDS in a thread of its own for SECONDS, in the person and garment of its SAMPLES. Raises what they raise."""
    for backend, mine in zip(backends, samples):
        dress(backend, mine[0], mode)
        backend.infer(frame_of(mine[0], mode))
    times: list[list[float]] = [[] for _ in backends]
    errors: list[BaseException] = []
    ready = threading.Barrier(len(backends) + 1)

    def mirror(index: int) -> None:
        try:
            ready.wait()
            while time.perf_counter() < end:
                frame = frame_of(samples[index][len(times[index]) % len(samples[index])], mode)
                begin = time.perf_counter()
                backends[index].infer(frame)
                times[index].append(1e3 * (time.perf_counter() - begin))
        except BaseException as e:  # noqa: BLE001 - raised again below
            errors.append(e)

    threads = [threading.Thread(target=mirror, args=(i,), name=f"spgvton-mirror-{i}") for i in range(len(backends))]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    end = start + seconds
    ready.wait()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return Together(times, time.perf_counter() - start)


def measure_mirrors(
    backend: Backend,
    samples: list[Sample],
    counts: Sequence[int],
    seconds: float,
    passes: int,
    done: Callable[[], object],
    mode: Mode = POSE,
) -> list[Together]:
    """By number of mirrors, in PASSES over all COUNTS (sorted out again), SECONDS each. Raises SpgvtonError."""
    backends = [backend, *(sibling(backend) for _ in range(max(counts) - 1))]
    groups = by_garment(samples)
    mine = [groups[i % len(groups)] for i in range(max(counts))]
    found: dict[int, list[Together]] = {count: [] for count in counts}
    for _ in range(passes):
        for count in counts:
            found[count].append(together(backends[:count], mine, seconds / passes, mode))
            done()
    return [
        Together(
            [[ms for p in found[count] for ms in p.times[i]] for i in range(count)],
            sum(p.seconds for p in found[count]),
        )
        for count in counts
    ]


def measure_batches(
    name: str, bundle: Bundle, threads: int | None, samples: list[Sample], sizes: Sequence[int], rounds: int,
    say: Callable[[str], None], done: Callable[[], object], mode: Mode = POSE,
) -> dict[int, list[float]]:  # fmt: skip
    """Times in ms of a run by batch size, ROUNDS of each in turn. The back end NAME runs the joint graph at every size.

    Raises SpgvtonError.
    """
    backends, frames = {}, {}
    for size in sizes:
        batch = batch_of([samples[i % len(samples)] for i in range(size)])
        backends[size] = open_backend(name, bundle, threads=threads, mode=mode, batch=size, say=say)
        dress(backends[size], batch, mode)
        frames[size] = frame_of(batch, mode)
        backends[size].infer(frames[size])
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            begin = time.perf_counter()
            backends[size].infer(frames[size])
            times[size].append(1e3 * (time.perf_counter() - begin))
        done()
    for backend in backends.values():
        backend.close()
    return times


def batch_row(size: int, times: list[float], alone_ms: float) -> dict[str, Any]:
    """alone_ms: median time of a run of one pose."""
    each = describe(times)
    ms = each["p50"] / size
    return {
        "kind": "batch", "count": size, "frames": size * len(times), "ms_per_frame": round(ms, 3),
        "relative": round(ms / alone_ms, 4), "latency_p50": each["p50"], "latency_p99": each["p99"], "fairness": None,
    }  # fmt: skip
