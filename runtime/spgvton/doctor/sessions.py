"""Sessions one after another. The last one that closes releases the primary context, which TensorRT uses too."""

from __future__ import annotations

from contextlib import closing
from typing import Final

import numpy as np

from spgvton.bench.parity import demo_poses, dress
from spgvton.doctor.contract import Outcome, Rig

TIMES: Final = 3
FRAMES: Final = 3


def run(rig: Rig) -> Outcome:
    """Open, dress three frames, close; three times. The pictures must be the same to the last bit."""
    poses, size = demo_poses()
    rounds = []
    for _ in range(TIMES):
        with closing(rig.session()) as session:
            dress(session)
            rounds.append(np.stack([session(keypoints, size) for keypoints in poses[:FRAMES]]))
    differing = [i + 1 for i, pictures in enumerate(rounds) if not np.array_equal(pictures, rounds[0])]
    wrong = f"session {differing[0]} gave other pictures than the first one" if differing else ""
    facts = {"opened": TIMES, "frames_each": FRAMES, "equal": not differing}
    return Outcome(f"opened and closed {TIMES} times, {FRAMES} frames each", facts, wrong)
