"""`spgvton bench`: the breakdown adds up, the overhead is measured, and a soak sees what grows and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spgvton.bench import loop as bench_loop
from spgvton.bench import trend
from spgvton.bench.soak import COLUMNS, Samples, Soak, Verdict, usage
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.kiosk.mirror.mirror import Mirror

LABELS = DemoAssets.open().person()[1]


def test_loop_adds_up(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--frames", "24", "--threads", "1", "--bundle", str(tiny_bundle), "--out", str(tmp_path), "--json"]
    assert main(["bench", "loop", *arguments]) == 0
    stdout, stderr = capsys.readouterr()
    data = json.loads(stdout)
    assert data == json.loads((tmp_path / "loop.json").read_text())
    assert set(data) >= {"fps", "frames_in", "frames_out", "dropped", "latency_ms", "stages_ms", "machine", "versions"}
    assert (data["frames_in"], data["frames_out"], data["dropped"], data["frames_counted"]) == (24, 24, 0, 14)
    for found in (data, data["one_at_a_time"]):
        assert sum(stage["mean"] for stage in found["stages_ms"].values()) == pytest.approx(
            found["latency_ms"]["mean"], abs=0.01
        )
        assert tuple(found["stages_ms"]) == bench_loop.STAGES
    own = data["overhead"]
    stages = data["overhead"]["cpu_stages_ms"]
    assert own["cpu"]["ms"] == pytest.approx(
        stages["all"] - stages["capture"] - stages["pose"] - stages["synthesis"], abs=0.01
    )
    assert 0.1 < own["cpu"]["ms"] < stages["all"]  # composing a picture costs something
    assert own["wall"]["ms"] >= own["parts_ms"]["compose"] > 0
    assert data["backend"]["threads"] == "1" and data["precision"] == "fp32"
    table = (tmp_path / "loop.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 14 and table[0].endswith(",present,watts,gpu_mhz")
    assert data["power"].keys() & {"unreadable", "watts", "rails_w"}
    assert "excluded the first 10 frames" in stderr


def test_loop_refuses_what_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "loop", "--frames", "5"]) == 2
    assert main(["bench", "soak", "--minutes", "0.1"]) == 2
    assert "give" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("leak", "noise", "grows"), [(0.0, 1.0, False), (0.02, 1.0, True), (-0.02, 1.0, False), (1e-4, 0.0, False)]
)
def test_trend_sees_a_leak_and_no_noise(leak: float, noise: float, grows: bool) -> None:
    seconds = np.arange(600.0)
    for seed in range(5):
        # As a mirror's: 50 MiB more while a customer is parsed.
        values = 300 + leak * seconds + 50 * (seconds % 38 < 9) + np.random.default_rng(seed).normal(0, noise, 600)
        found = trend.fit(seconds, values, floor=3.0)
        assert found.grows is grows, found
        assert found.slope / 3600 == pytest.approx(leak, abs=0.005)


class MapParser:
    """The shipped person's own map."""

    label_set = "cihp"

    def __call__(self, image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        return LABELS


def soak(bundle: Path, folder: Path, leak: Callable[[float], None] | None = None) -> Soak:
    mirror = Mirror(
        "synthetic://?stay=3&away=2&fps=10", bundle, mode="pose", threads=1, parser=MapParser(), wipe_after_s=1
    )
    made = Soak(
        mirror, DemoAssets.open().garments(), 9.0, folder / "soak.csv", interval_s=0.1, garment_s=1.0, on_sample=leak
    )
    made.run()
    return made


def test_soak_of_a_real_mirror_finds_a_leak_of_descriptors(tiny_bundle: Path, tmp_path: Path) -> None:
    kept = []
    made = soak(tiny_bundle, tmp_path, leak=lambda _: kept.append(open("/dev/null")))  # noqa: SIM115
    for file in kept:
        file.close()
    assert (made.code, made.interrupted) == (0, False)
    verdict = Verdict.of(made.samples)
    assert "fds" in verdict.growing
    report = verdict.as_dict()
    assert report["customers"] >= 1 and report["garments"] >= 5 and report["frames_out"] > 5
    assert verdict.trends["threads"].slope < 3600 * 0.5
    lines = (tmp_path / "soak.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS) and len(lines) == made.samples.count + 1
    picture = verdict.plot("a test")
    assert picture.shape == (544, 960, 3) and picture.std() > 10


def test_soak_without_a_customer_is_no_proof() -> None:
    samples = Samples(100)
    for second in range(100):
        samples.add(second, *usage(), 10.0, second, 0, 1)
    with pytest.raises(SpgvtonError, match="no customer"):
        Verdict.of(samples)
    with pytest.raises(SpgvtonError, match="only 0 samples"):
        Verdict.of(Samples(3))
