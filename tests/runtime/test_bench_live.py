"""`bench loop --mode live`: what is counted, and how sources become a camera of another size."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from spgvton.bench.live_loop import STAGES, WARM_UP, Fitted, Measured, Watched
from spgvton.cli import main
from spgvton.cli.bench_live import size_of, table
from spgvton.demo_assets import DemoAssets
from spgvton.live.garment import LiveGarment
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.pose import PoseEstimator
from spgvton.stream.frames import Frame
from spgvton.stream.loop import Perception, View
from spgvton.stream.report import Report
from spgvton.stream.sources import open_source

PICTURE = np.zeros((4, 4, 3), np.uint8)


def test_the_size_is_width_times_height() -> None:
    assert size_of("1080x1920") == (1920, 1080) and size_of("721x1281") == (1280, 720)
    for wrong in ("big", "10x10", "99999x99999", "1080"):
        with pytest.raises(argparse.ArgumentTypeError, match="WIDTHxHEIGHT"):
            size_of(wrong)


def test_a_source_becomes_a_camera_of_another_size() -> None:
    source = Fitted(open_source(str(DemoAssets.open().folder / "person.jpg")), (640, 720))
    frame, end = source.read(), source.read()
    assert frame is not None and end is None and frame.image.shape == (640, 720, 3)
    assert (frame.image[:, :100] == frame.image[0, 0]).all() and frame.image[:, 200:500].std() > 20


def test_rates_count_what_is_shown_and_stages_what_is_dressed() -> None:
    measured = Measured(Report(answers=3, seconds=2.0), (1280, 720), {"p50": 13.0, "max": 14.0})
    for i in range(WARM_UP + 21):
        frame = Frame(PICTURE, i, 0.05 * i, 0.05 * i)
        reason = "one moment, please" if i % 2 else None
        stages = dict.fromkeys(STAGES, 0.01)
        measured.add(
            View(frame, Perception(np.ones((18, 3), np.float32), reason), PICTURE, stages, finished=0.05 * i + 0.1)
        )
    report = measured.as_dict()
    assert (report["frames_counted"], report["dressed"], report["fps"], report["answers_per_s"]) == (21, 11, 20.0, 1.5)
    assert report["latency_ms"]["p95"] == pytest.approx(100) and set(report["stages_ms"]) == set(STAGES)
    held = {name: value[1] for name, value in report["targets"].items()}
    assert held == {"fps": True, "latency_p95_ms": True, "compositing_cpu_ms": False}
    assert any("MISSED" in line for line in table(report | {"parser": "small", "power": {"unreadable": "none here"}}))


def test_compositing_is_measured_on_moments_of_the_stream() -> None:
    live = Watched(LiveTryOn(threads=1))
    shop, person = DemoAssets.open().garment(1), DemoAssets.open().person()[0]
    live.use_garment(LiveGarment.of(shop.picture, shop.mask))
    answer = live.answer(person, PoseEstimator(smooth=False)(person, 0.0))
    assert live.compositing_cpu_ms() == {}
    for _ in range(30):
        live.compose(person, answer)
    spent = live.compositing_cpu_ms()
    assert 0 < spent["p50"] <= spent["max"]


def test_a_size_is_of_live_mode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "loop", "--size", "720x1280"]) == 2
    assert "--mode live" in capsys.readouterr().err
    assert main(["bench", "loop", "--parser-size", "100x100"]) == 2
    assert "--parser-size is of live mode" in capsys.readouterr().err
    assert main(["bench", "loop", "--mode", "live", "--frames", "5"]) == 2
