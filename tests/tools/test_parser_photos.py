"""The panels of a sheet of photographs are found, in reading order and without their frames."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from parser_photos import main, panels
from spgvton import image as im


def sheet() -> np.ndarray:
    """Grey ground, three panels in white frames, each of another colour, and a line of white letters."""
    out = np.full((400, 600, 3), 120, np.uint8)
    for value, (y, x) in enumerate(((30, 40), (40, 320), (230, 40))):
        out[y : y + 140, x : x + 200] = 255
        out[y + 5 : y + 135, x + 5 : x + 195] = 20 * value
    out[385:390, 300:306] = 255
    return out


def test_panels_come_in_reading_order() -> None:
    found = list(panels(sheet()))
    assert [p.shape for p in found] == [(128, 188, 3)] * 3
    assert [int(p.max()) for p in found] == [0, 20, 40]


def test_people_are_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P001", "P002"):
        (tmp_path / name / "assets").mkdir(parents=True)
        im.write(tmp_path / name / "assets/character_sheet.jpg", sheet())
        im.write(tmp_path / name / "assets/selfie.jpg", np.zeros((2048, 100, 3), np.uint8))
    out = tmp_path / "out"
    words = ["parser_photos", "--people", str(tmp_path), "--leave-out", "P002,out", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    main()
    names = sorted(p.name for p in out.iterdir())
    assert names == [*(f"P001_character_sheet_0{i}.jpg" for i in range(3)), "P001_selfie.jpg"]
    assert im.read(out / "P001_selfie.jpg").shape == (1024, 50, 3)
