"""examples/kiosk_client.py against a running kiosk."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from kiosk_shop import Served

from spgvton import image

EXAMPLE = Path(__file__).resolve().parents[4] / "examples/kiosk_client.py"


def test_client(kiosk: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("kiosk_client", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(kiosk.running.url, out=str(tmp_path / "mirror.jpg"))
    shown = [line[2:] for line in capsys.readouterr().out.splitlines()]
    assert (
        sorted(shown) == sorted(g["name"] for g in kiosk.client.get("/api/garments").json()["garments"])
        and len(shown) == 3
    )
    assert [g["name"] for g in module.Kiosk(kiosk.running.url).garments() if g["worn"]] == shown[:1]
    assert image.read(tmp_path / "mirror.jpg").shape[2] == 3
