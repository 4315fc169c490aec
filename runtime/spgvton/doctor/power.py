"""Watts, clocks and joules of a frame while frames are dressed without a pause."""

from __future__ import annotations

import time
from contextlib import closing

from spgvton.bench import sensors
from spgvton.bench.parity import demo_poses, dress
from spgvton.bench.power import Power, line
from spgvton.doctor.contract import Outcome, Rig, Skipped


def run(rig: Rig) -> Outcome:
    """rig.seconds of frames beside the first sensor that answers. facts: Power.report(), frames."""
    sensor = sensors.find()
    if sensor is None:
        raise Skipped(sensors.NONE)
    poses, size = demo_poses()
    with Power(sensor) as power, closing(rig.session()) as session:
        dress(session)
        session(poses[0], size)
        start, frames = time.monotonic(), 0
        while time.monotonic() - start < rig.seconds:
            session(poses[frames % len(poses)], size)
            frames += 1
    report = power.report(frames)
    if "unreadable" in report:
        raise Skipped(f"{sensor.name} answers nothing: {report['unreadable']}")
    return Outcome(line(report).removeprefix("power").strip(), {**report, "frames": frames})
