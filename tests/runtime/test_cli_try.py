"""`spgvton try`: one photograph, garments, files. Real pose, parser, network and compositor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spgvton import image
from spgvton import labels as lb
from spgvton.cli import main
from spgvton.cli.try_on import expand, name_outputs
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError

ASSETS = DemoAssets.open().folder
PHOTO = Path(__file__).parents[1] / "data" / "person_front.jpg"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, with me.png and shop/ in it."""
    monkeypatch.chdir(tmp_path)
    image.write("me.png", image.read(PHOTO))
    (tmp_path / "shop").mkdir()
    for number in (2, 3):
        shutil.copyfile(ASSETS / f"garment_{number}.jpg", f"shop/{number}.jpg")
    shutil.copyfile(ASSETS / "garment_2_mask.png", "shop/2_mask.png")
    return tmp_path


def test_one_photograph_and_one_garment(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (here / "me.png").read_bytes()
    assert main(["try", "me.png", "shop/2.jpg", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["out"], data["mode"]) == ("me-2.png", "live")
    assert set(data["stages_ms"]) == {"read", "pose", "parse", "synthesis", "compose", "write"}
    photo, result = image.read("me.png"), image.read("me-2.png")
    changed = (photo != result).any(axis=2)
    assert result.shape == photo.shape and 0.03 < changed.mean() < 0.4, "everything else is the photograph's own"
    assert not changed[: photo.shape[0] // 8].any(), "the face"
    assert (here / "me.png").read_bytes() == before


def test_a_garment_that_somebody_wears(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(PHOTO.with_name("person_back.jpg"), "worn.jpg")
    assert main(["try", "me.png", "worn.jpg"]) == 0
    said = capsys.readouterr().err
    assert "worn.jpg: hair hides part of it" in said and "worn.jpg: it is seen from behind" in said
    photo, result = image.read("me.png"), image.read("me-worn.png")
    assert 0.03 < (photo != result).any(axis=2).mean() < 0.4
    shirt = result[190:220, 100:130]  # grey before, white now; above it hair hid what she wore
    assert shirt.mean() > photo[190:220, 100:130].mean() + 15


def test_a_folder_gives_one_picture_each_and_a_contact_sheet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image.write("shop/blank.png", np.full((300, 300, 3), 255, np.uint8))
    assert main(["try", "me.png", "shop", "--out", "results", "--json"]) == 1
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert data["out"] == "results/me-sheet.jpg" and data["failed"] == ["shop/blank.png"]
    assert [file["out"] for file in data["files"]] == ["results/me-2.png", "results/me-3.png"]
    sheet = image.read("results/me-sheet.jpg")
    assert sheet.shape[1] > 2 * sheet.shape[0] * 0.5
    assert "1 of 3 garments could not be tried on" in err.splitlines()[-1]


def test_masks_lie_beside_and_names_do_not_collide(here: Path) -> None:
    assert expand(["shop"], None) == [("shop/2.jpg", "shop/2_mask.png"), ("shop/3.jpg", None)]
    assert expand(["shop/2.jpg"], ["m.png"]) == [("shop/2.jpg", "m.png")]
    paths, sheet = name_outputs(Path("a/me.HEIC"), ["x/shirt.jpg", "y/shirt.png"], None)
    assert paths == [Path("me-shirt.jpg"), Path("me-shirt-2.jpg")] and sheet == Path("me-sheet.jpg")
    with pytest.raises(UsageError, match="name a folder"):
        name_outputs(Path("me.jpg"), ["a.jpg", "b.jpg"], "out.png")
    with pytest.raises(UsageError, match="one mask per garment"):
        expand(["a.jpg", "b.jpg"], ["m.png"])
    (here / "empty").mkdir()
    with pytest.raises(SpgvtonError, match="holds no picture"):
        expand(["empty"], None)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nobody.jpg", "shop/2.jpg"], 1, "nobody.jpg: no such file"),
        (["me.png", "nothing.jpg"], 1, "nothing.jpg: no such file"),
        (["shop/2.jpg", "shop/3.jpg"], 1, "the first picture is the person's"),
        (["dummy.png", "shop/2.jpg"], 1, "the person comes first"),
        (["me.png", "grey.png"], 1, "or give --mask"),
        (["grey.png", "shop/2.jpg"], 1, "the first picture is the person's"),
        (["me.png", str(ASSETS / "clip.mp4")], 1, "not a picture"),
        (["me.png", "shop/2.jpg", "--out", "me.png"], 1, "would be replaced"),
        (["me.png", "shop/2.jpg", "--out", "out.gif"], 2, ".jpg, .jpeg, .png"),
        (["me.png", "shop/2.jpg", "shop/3.jpg", "--out", "out.jpg"], 2, "name a folder"),
        (["me.png", "shop", "--mask", "shop/2_mask.png"], 2, "leave --mask out"),
        (["me.png", "shop/2.jpg", "--mask", "grey.png"], 1, "grey.png"),
        (["me.png", "shop/2.jpg", "--bundle", "/nowhere"], 1, "not a model bundle"),
        ([str(PHOTO.with_name("person_back.jpg")), "shop/2.jpg"], 1, "behind"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    here: Path, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image.write("grey.png", np.full((400, 300, 3), 128, np.uint8))
    picture, labels = DemoAssets.open().person()
    image.write("dummy.png", np.where(np.isin(labels, (lb.FACE, lb.HAIR))[..., None], np.uint8(245), picture))
    before = sorted(here.rglob("*"))
    assert main(["try", *arguments]) == code
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("spgvton try: ") and words in last and "Traceback" not in stderr
    assert sorted(here.rglob("*")) == before, "nothing is left behind"
