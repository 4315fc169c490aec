"""How long a frame takes, from keypoints to the picture on the host; every frame after the warm-up counts."""

from __future__ import annotations

from contextlib import closing

from spgvton import machine
from spgvton.bench.parity import benchmark
from spgvton.doctor.contract import Outcome, Rig


def run(rig: Rig) -> Outcome:
    """facts: frames, warm_up, latency_ms, backend (as it describes itself), gpu_state (right after: clocks fall in idleness)."""
    with closing(rig.session()) as session:
        timed = benchmark(session, rig.frames)
        state = machine.gpu_state()
        described = session.describe()
    latency = "  ".join(f"{name} {ms:.2f}" for name, ms in timed.latency_ms.items())
    words = (
        f"{latency}  ms, keypoints to picture on the host; {timed.frames} frames, all counted, after {timed.warm_up} "
        "warm-up frames"
    )
    facts = {**timed.as_dict(), "backend": described, "gpu_state": state}
    return Outcome(words, facts, times={"frame": list(timed.times_ms)})
