"""Live mode at 720x1280, as a mirror runs it: the shipped clip at 30 frames/s, the newest frame always shown."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from spgvton.bench import live_loop
from spgvton.demo_assets import DemoAssets
from spgvton.doctor.contract import Outcome, Rig
from spgvton.live.garment import LiveGarment
from spgvton.stream.sources import open_source

SIZE: Final = (1280, 720)  # height, width: a portrait screen
SOURCE: Final = "synthetic://?fps=30"


def run(rig: Rig) -> Outcome:
    """See the module. facts: as `spgvton bench loop --mode live`. It fails where no frame was dressed; targets are told."""
    shop = DemoAssets.open().garment(1)
    with closing(rig.live()) as live, closing(open_source(SOURCE, realtime=True)) as source:
        described = live.describe()
        garment = LiveGarment.of(shop.picture, shop.mask, rig.bundle.size)
        measured = live_loop.measure(live_loop.Fitted(source, SIZE), live, garment, frames=rig.live_frames)
    report = measured.report
    if report.interrupted:
        raise KeyboardInterrupt
    if measured.counted < 2 or not measured.rows:
        most = max(report.unusable, key=lambda reason: report.unusable[reason], default="too few frames")
        wrong = report.problem or f"of {len(measured.ages)} frames none was dressed ({most})"
        return Outcome(wrong, {"backend": described, "frames": len(measured.ages)}, wrong)
    facts = {"backend": described, **measured.as_dict()}
    missed = [name for name, (_, held) in facts["targets"].items() if not held]
    words = (
        f"{SIZE[1]}x{SIZE[0]}: {facts['fps']:.1f} frames/s presented, {facts['answers_per_s']:.1f} answers/s, age p95 "
        f"{facts['latency_ms']['p95']:.0f} ms; targets {'MISSED: ' + ', '.join(missed) if missed else 'held'}"
    )
    return Outcome(
        words, facts, report.problem or "", {"live: age of the shown frame": [1e3 * age for age in measured.ages]}
    )
