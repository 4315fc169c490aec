"""A CUDA graph is captured and replayed ten thousand times; what it gives stays what the first, plain frame gave."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

import numpy as np
from tqdm import tqdm

from spgvton.bench.parity import demo_poses, dress
from spgvton.bench.statistics import describe
from spgvton.doctor.contract import Outcome, Rig, Skipped

# How GraphReplay and Execution say that frames are replayed.
REPLAYED: Final = ("replayed", "captured by TensorRT-RTX")


def run(rig: Rig) -> Outcome:
    """See the module. facts: frames, cuda_graph (how they were run), changed (frames that differ), latency_ms."""
    if not rig.is_gpu:
        raise Skipped(f"{rig.backend} has no CUDA graphs")
    poses, size = demo_poses()
    times: list[float] = []
    changed = 0
    with closing(rig.session()) as session:
        dress(session)
        plain = session(poses[0], size)
        for i in tqdm(range(1, rig.replays + 1), desc="replays", unit="frame", disable=None, leave=False):
            begin = time.perf_counter()
            picture = session(poses[i % len(poses)], size)
            times.append(1e3 * (time.perf_counter() - begin))
            changed += i % len(poses) == 0 and not np.array_equal(picture, plain)
        dress(session)  # the framing follows the frames; from here on it is that of the first one
        changed += not np.array_equal(session(poses[0], size), plain)
        state = session.describe().get("cuda_graph", "unknown")
    latency = describe(times)
    facts = {"frames": rig.replays, "cuda_graph": state, "changed": changed, "latency_ms": latency}
    wrong = ""
    if state not in REPLAYED:
        wrong = f"frames were not replayed: {state}"
    elif changed:
        wrong = f"{changed} frames differ from the first, plain one"
    words = f"{rig.replays} frames, CUDA graph: {state}; p50 {latency['p50']:.2f}, max {latency['max']:.2f} ms"
    return Outcome(words, facts, wrong, {"replays": times})
