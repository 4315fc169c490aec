"""`spgvton cutout`: photographs -> masks, cut-outs, kinds. The real network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spgvton import image
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets

ASSETS = DemoAssets.open().folder
FACE = 96  # rows of the photograph: what lies above the shoulders
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, with a garment in shop/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    shutil.copyfile(ASSETS / "garment_2.jpg", "shop/tee.jpg")
    return tmp_path


def test_a_folder_of_garments(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(ASSETS / "garment_3.jpg", "shop/other.jpg")
    assert main(["cutout", "shop", "--out", "cut", "--overlay", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [file["image"] for file in data["files"]] == ["shop/other.jpg", "shop/tee.jpg"] and data["refused"] == []
    truth = image.read(ASSETS / "garment_2_mask.png")[..., 0] > 127
    file = data["files"][1]
    assert file.keys() == {"image", "mask", "cutout", "overlay", "kind", "sleeve", "confidence", "notes"}
    mask = image.read(file["mask"])[..., 0]
    assert ((mask > 127) & truth).sum() / ((mask > 127) | truth).sum() > 0.95
    rgba = image.read_colour(file["cutout"], keep_alpha=True)
    np.testing.assert_array_equal(rgba[..., 3], mask)
    np.testing.assert_array_equal(rgba[..., :3], image.read("shop/tee.jpg"))
    assert 0 < file["confidence"] <= 1 and image.read(file["overlay"]).shape == (*mask.shape, 3)


def test_the_mask_is_what_try_takes_and_an_alpha_channel_is_kept(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cutout", "shop/tee.jpg", "--out", "cut"]) == 0
    assert "shop/tee.jpg: " in capsys.readouterr().out
    assert main(["cutout", "cut/tee_cutout.png", "--out", "again"]) == 0
    first, again = (image.read(f)[..., 0] for f in ("cut/tee_mask.png", "again/tee_cutout_mask.png"))
    np.testing.assert_array_equal(first >= 128, again > 0)


def test_what_is_no_garment_is_one_line_each(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    table = np.clip(np.array([150, 110, 70]) + rng.normal(0, 6, (240, 320, 1)), 0, 255).astype(np.uint8)
    face = image.read(DATA / "person_front.jpg")[:FACE, 70:190]
    pictures = {"black": np.zeros((300, 200, 3), np.uint8), "table": table, "face": face}
    for name, picture in pictures.items():
        image.write(f"{name}.png", picture)
    Path("broken.jpg").write_bytes(b"nothing")
    names = [*(f"{name}.png" for name in pictures), "broken.jpg", "shop/tee.jpg"]
    assert main(["cutout", *names, "--out", "cut", "--json"]) == 1
    told = capsys.readouterr()
    data = json.loads(told.out)
    assert [file["image"] for file in data["files"]] == ["shop/tee.jpg"]
    reasons = {entry["image"]: entry["reason"] for entry in data["refused"]}
    assert reasons.keys() == {"black.png", "table.png", "face.png", "broken.jpg"}
    assert all("\n" not in reason and "--garment-mask" not in reason for reason in reasons.values())
    assert reasons["black.png"].startswith("no garment found: photograph one garment from the front")
    assert sorted(p.name for p in (here / "cut").iterdir()) == ["tee_cutout.png", "tee_mask.png"]
    lines = [line for line in told.err.splitlines() if line.startswith("spgvton cutout: ")]
    assert len(lines) == 4


def test_a_worn_garment_is_found_by_the_parser(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cutout", str(DATA / "person_front.jpg"), "--out", "cut", "--json"]) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    mask = image.read(file["mask"])[..., 0] > 127
    assert 0.05 < mask.mean() < 0.5 and not mask[: len(mask) // 8].any()  # no face, no hair
    assert file["kind"] in ("t-shirt", "long sleeve", "shirt", "outerwear") and isinstance(file["notes"], list)
