"""Memory stays flat while frames are dressed and garments change: of the process, and of the GPU.

Judged by the rule of spgvton.bench.trend, after a third that warms up.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.bench import trend
from spgvton.bench.parity import demo_poses, dress
from spgvton.bench.soak import usage
from spgvton.demo_assets import GARMENTS
from spgvton.doctor.contract import Outcome, Rig

WARM_UP: Final = 1 / 3
CHANGES: Final = 10  # of the garment
LEAST: Final = 5  # samples a block, at the lowest of which the trend looks
# Growth that counts as none, by quantity.
FLOORS: Final = {
    "resident memory, MiB": 8.0,
    "GPU memory in use, MiB": 4.0,
    "open file descriptors": 1.0,
    "threads": 1.0,
}
GPU_MEMORY: Final = "GPU memory in use, MiB"


def run(rig: Rig) -> Outcome:
    """rig.seconds of frames, another garment CHANGES times. facts: trends by quantity, gpu (why not, where not)."""
    rows: list[list[float]] = []
    poses, size = demo_poses()
    start_free = rig.free_memory()
    with closing(rig.session()) as session:
        dress(session)
        start, frames, changes = time.monotonic(), 0, 0
        least = LEAST * trend.MIN_BLOCKS / (1 - WARM_UP)
        while (passed := time.monotonic() - start) < rig.seconds or len(rows) < least:
            if changes < CHANGES and passed >= changes * rig.seconds / CHANGES:
                changes += 1
                dress(session, 1 + changes % GARMENTS)
            session(poses[frames % len(poses)], size)
            frames += 1
            rss, fds, threads = usage()
            free = rig.free_memory()
            used = (start_free - free) / 2**20 if start_free is not None and free is not None else np.nan
            rows.append([passed, rss, used, fds, threads])
    return judged(np.array(rows), frames, changes)


def judged(rows: NDArray[np.float64], frames: int, garments: int) -> Outcome:
    """What ROWS say: seconds, and the columns of FLOORS; NaN where one cannot be read."""
    seconds, after = rows[:, 0], rows[:, 0] >= WARM_UP * rows[-1, 0]
    columns = {name: rows[:, 1 + i] for i, name in enumerate(FLOORS) if not np.isnan(rows[:, 1 + i]).any()}
    trends = {
        name: (values, trend.fit(seconds[after], values[after], floor=FLOORS[name])) for name, values in columns.items()
    }
    growing = [name for name, (_, line) in trends.items() if line.grows]
    facts: dict[str, Any] = {
        "frames": frames, "garments": garments, "trends": {name: line.as_dict() for name, (_, line) in trends.items()},
    }  # fmt: skip
    if GPU_MEMORY not in trends:
        facts["gpu"] = "the GPU's memory cannot be read, only the process's was judged"
    words = f"{frames} frames, {garments} garments in {seconds[-1]:.0f} s: " + ", ".join(
        f"{name} {line.growth:+.1f}" for name, (_, line) in trends.items()
    )
    return Outcome(words, facts, f"it grows: {', '.join(growing)}" if growing else "", lines=(seconds, trends))
