"""Bulk import: photographs are cut out, staff look at them, correct, accept and reject."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from kiosk_shop import ASSETS, Served, encode, make_shop, serve, wait_for

from spgvton import image
from spgvton.cli import main
from spgvton.kiosk.garments import review as review_module
from spgvton.kiosk.garments.review import Review

PEOPLE = Path(__file__).parents[3] / "data"


def photograph(number: int) -> bytes:
    return (ASSETS / f"garment_{number}.jpg").read_bytes()


@pytest.fixture
def photographs(tmp_path: Path, shirt: bytes) -> Path:
    """A shirt, another one, an empty table, and a file that is no picture."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "LS-1042.jpg").write_bytes(photograph(1))
    (folder / "my_blouse.jpg").write_bytes(photograph(3))
    (folder / "table.png").write_bytes(encode(np.full((300, 300, 3), 140, np.uint8)))
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_a_folder_is_cut_out_and_waits(
    tmp_path: Path, tiny_bundle: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_shop(tmp_path / "shop", tiny_bundle)
    (tmp_path / "shop" / "garments" / "catalogue.csv").write_text(
        "picture,name,price\nLS-1042.jpg,Linen shirt,29.90\nx\n"
    )
    assert main(["kiosk", "import", "--config", str(config), "--json", str(photographs)]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"waiting": 2, "without_garment": 1, "already": 0, "refused": 1}
    told = [line for line in err.splitlines() if line.startswith("spgvton kiosk import: ")]
    assert len(told) == 3 and "catalogue.csv:3: has 1 values" in told[0]
    assert "broken.jpg" in told[1] and "table.png: no garment found" in told[2]
    (photographs / "broken.jpg").unlink()
    (photographs / "nova.jpg").write_bytes(photograph(2))  # the shop has one of this name
    assert main(["kiosk", "import", "--config", str(config), "--json", str(photographs)]) == 0  # again: nothing twice
    assert json.loads(capsys.readouterr().out)["already"] == 1
    waiting = Review(tmp_path / "shop" / "state" / "review").waiting()
    assert [entry.stem for entry in waiting] == ["LS-1042", "my_blouse", "table"]
    assert waiting[0].kind and not waiting[0].problem and waiting[2].problem

    # and the kiosk that is started then has them
    with serve(tmp_path / "served", tiny_bundle, state=tmp_path / "shop" / "state") as kiosk:
        (kiosk.garments / "catalogue.csv").write_text("picture,name,price\nLS-1042.jpg,Linen shirt,29.90\n")
        wait_for(lambda: kiosk.client.get("/api/review").json()["waiting"][0]["listed"])
        shirt, blouse, table = kiosk.client.get("/api/review").json()["waiting"]
        assert shirt["name"] == "Linen shirt" and shirt["price"] == "29.90"
        assert blouse["name"] == "My blouse" and not blouse["listed"]
        answer = kiosk.client.post(f"/api/review/{table['id']}/accept", json={"name": "Table"})
        assert answer.status_code == 409 and "no mask" in answer.json()["detail"]
        assert kiosk.client.delete(f"/api/review/{table['id']}").status_code == 204
        answer = kiosk.client.post(f"/api/review/{shirt['id']}/accept", json={"name": "Linen shirt"})
        assert answer.status_code == 201 and answer.json()["price"] == "29.90"  # the list's row is of this file
        assert (kiosk.garments / "LS-1042.png").exists()
        garment = answer.json()["id"]
        assert kiosk.client.put("/api/garment", json={"id": garment}).status_code == 200
        assert [e["file"] for e in kiosk.client.get("/api/review").json()["waiting"]] == ["my_blouse"]


def send(kiosk: Served, data: bytes, file: str) -> httpx.Response:
    return kiosk.client.post("/api/review", params={"file": file}, content=data)


def test_a_worn_garment_is_taken_without_its_wearer(kiosk: Served) -> None:
    person = min(PEOPLE.glob("person_*.jpg")).read_bytes()
    entry = send(kiosk, person, "worn.jpg").json()
    try:
        assert not entry["problem"] and entry["kind"]
        assert kiosk.client.post(f"/api/review/{entry['id']}/open").json()["mask"]
        found = kiosk.running.kiosk.review.upload(kiosk.running.kiosk.review.get(entry["id"]))  # type: ignore[arg-type]
        assert found.mask is not None and 0.02 < (found.mask > 127).mean() < 0.6  # not the whole of her
    finally:
        kiosk.client.delete(f"/api/review/{entry['id']}")


def test_corrections_are_accepted_or_told_to_be_gone(kiosk: Served, shirt: bytes) -> None:
    entry = send(kiosk, shirt, "Red shirt.png").json()
    path = f"/api/review/{entry['id']}"
    upload = kiosk.client.post(f"{path}/open").json()
    assert upload["id"] == entry["id"] and upload["mask"]
    tap = {"x": 0.12, "y": 0.33, "add": False}  # a sleeve
    assert kiosk.client.post(f"/api/uploads/{entry['id']}/taps", json=tap).json()["taps"] == 1
    assert kiosk.client.post(f"{path}/open").json()["taps"] == 1  # opened again: still there
    kiosk.running.kiosk.uploads.discard(entry["id"])  # as after 15 minutes
    answer = kiosk.client.post(f"{path}/accept", json={"name": "Red", "corrected": True})
    assert answer.status_code == 409 and "again" in answer.json()["detail"]
    kiosk.client.post(f"{path}/open")
    changed = encode(cv2.rectangle(np.zeros((240, 200), np.uint8), (50, 60), (150, 200), 255, -1))
    assert kiosk.client.put(f"/api/uploads/{entry['id']}/mask", content=changed).status_code == 200
    garment = kiosk.client.post(f"{path}/accept", json={"name": "Red", "corrected": True}).json()
    mask = image.read(kiosk.garments / "Red shirt_mask.png", flags=cv2.IMREAD_GRAYSCALE)
    assert mask[80, 30] == 0 and mask[80, 100] == 255
    assert kiosk.client.post(f"{path}/accept", json={"name": "Red"}).status_code == 404
    assert kiosk.client.get(f"{path}/preview.jpg").status_code == 404
    assert kiosk.client.delete(f"/api/garments/{garment['id']}").status_code == 204


@pytest.mark.parametrize(
    "file", ["../../etc/passwd.png", "..", ".hidden.png", "a/b\\c_mask.png", "\ud800x.png"[1:], "x" * 200]
)
def test_names_of_photographs_lead_nowhere(kiosk: Served, shirt: bytes, file: str) -> None:
    entry = send(kiosk, shirt, file).json()
    try:
        garment = kiosk.client.post(f"/api/review/{entry['id']}/accept", json={"name": "A"}).json()
        picture = kiosk.running.kiosk.catalogue.get(garment["id"]).picture  # type: ignore[union-attr]
        assert picture.resolve().parent == kiosk.garments.resolve() and picture.exists()
        assert not garment["problem"]
    finally:
        assert kiosk.client.delete(f"/api/garments/{garment['id']}").status_code == 204


def test_only_pictures_and_only_so_many(kiosk: Served, shirt: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert send(kiosk, b"GIF89a" + bytes(100), "a.gif").status_code == 422
    monkeypatch.setattr(review_module, "MOST", 0)
    answer = send(kiosk, shirt, "a.png")
    assert answer.status_code == 422 and "accept or reject some" in answer.json()["detail"]
    assert kiosk.client.get("/api/review").json() == {"waiting": []}


def test_a_damaged_entry_is_left_out(tmp_path: Path, shirt: bytes) -> None:
    review = Review(tmp_path)
    entry = review.add(shirt, "a.png", image.decode(shirt, "a"))
    again = Review(tmp_path)
    assert again.waiting() == [entry] and again.preview(entry).startswith(b"\xff\xd8")
    for text in ("", "[]", '{"stem": 3}'):
        (tmp_path / f"{entry.id}.json").write_text(text)
        assert Review(tmp_path).waiting() == []
