"""`spgvton bench diff`: which figures changed, which way is better, and what else differed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spgvton.bench import diff
from spgvton.cli import main
from spgvton.errors import SpgvtonError


def report(**changed: Any) -> dict[str, Any]:
    return {
        "fps": 20.0, "latency_ms": {"p50": 40.0, "p99": 80.0}, "frames_in": 150, "source": "clip",
        "sides": [{"side": "a", "ratio": {"ratio": 1.0}, "latency_ms": {"p50": 10.0}}, {"side": "b", "latency_ms": {"p50": 20.0}}],
        "machine": {"cpu": "A"}, "versions": {"onnxruntime": "1.2"}, "load": [1.0], "precision": "fp32",
    } | changed  # fmt: skip


def test_figures_and_their_direction() -> None:
    after = report(fps=25.0, latency_ms={"p50": 44.0, "p99": 200.0}, machine={"cpu": "B"}, frames_in=3)
    found = diff.compare(report(), after)
    assert {c.name: round(c.gain, 6) for c in found.changes} == {
        "fps": 0.25, "latency_ms.p50": -0.1, "latency_ms.p99": -1.5, "sides.a.latency_ms.p50": 0, "sides.b.latency_ms.p50": 0,
    }  # fmt: skip
    assert found.context == ["machine.cpu: A -> B"]
    assert [c.name for c in found.worse(0.05)] == ["latency_ms.p50"]  # the tail is not judged
    assert not found.worse(0.11)
    assert [c.row()[""] for c in found.changes] == ["better", "worse", "worse", "", ""]


def test_limits_and_microseconds_are_not_judged() -> None:
    before, after = ({"present_ms": {"p50": t}, "overhead": {"limits": {"ms": n}}} for t, n in ((0.005, 1), (0.05, 9)))
    found = diff.compare(before, after)
    assert [c.name for c in found.changes] == ["present_ms.p50"] and not found.worse(0.1)


def test_entries_of_lists_are_told_apart_by_name() -> None:
    other = report()
    other["sides"] = other["sides"][::-1]
    assert all(c.gain == 0 for c in diff.compare(report(), other).changes)


def test_reports_that_share_nothing() -> None:
    for other in ({}, {"latency_ms": {"p50": None}}, {"latency_ms": {"p50": 0.0}, "fps": float("nan")}, {"fps": True}):
        with pytest.raises(SpgvtonError, match="share no figure"):
            diff.compare(report(sides=[]), other)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("a", report()), ("b", report(fps=10.0)), ("list", [])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "broken.json").write_text("{")
    a, b = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    assert main(["bench", "diff", a, b, "--limit", "60"]) == 0
    assert "-50.0%  worse" in capsys.readouterr().out
    assert main(["bench", "diff", a, b, "--limit", "10", "--json"]) == 1
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["figures"][0] == {"figure": "fps", "before": 20.0, "after": 10.0, "gain": -0.5}
    assert stderr.splitlines()[-1] == "spgvton bench: worse by more than 10%: fps -50.0%"
    for wrong in ("broken", "list", "absent"):
        assert main(["bench", "diff", a, str(tmp_path / f"{wrong}.json")]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["bench", "diff", a, b, "--limit", "-1"]) == 2
