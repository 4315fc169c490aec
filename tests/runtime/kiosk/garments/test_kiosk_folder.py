"""What may lie in a watched folder, and what a kiosk decides must outlive: nothing of it stops, freezes or opens the kiosk."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from kiosk_shop import Served, make_shop, serve, wait_for
from prometheus_client.parser import text_string_to_metric_families

from spgvton.errors import SpgvtonError
from spgvton.kiosk.garments import catalogue
from spgvton.kiosk.garments.catalogue import Catalogue
from spgvton.kiosk.garments.garment import garment_id
from spgvton.kiosk.service import config, control, state


def within(seconds: float, action: object) -> None:
    """ACTION() ends within SECONDS; what hangs would hang the test run."""
    done = threading.Event()

    def run() -> None:
        action()  # type: ignore[operator]
        done.set()

    threading.Thread(target=run, daemon=True).start()
    assert done.wait(seconds), "it hangs"


# ------------------------------------------------------------------ the folder
def test_nothing_in_the_folder_can_freeze_or_leak(tmp_path: Path, shirt: bytes) -> None:
    folder, outside = tmp_path / "garments", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("the password")
    (outside / "foreign.png").write_bytes(shirt)
    raw = os.fsencode(folder)
    for odd in (b"caf\xe9.png", b"\xff\xfe.png"):
        Path(os.fsdecode(raw + b"/" + odd)).write_bytes(shirt)
    for name in ("pipe.png", "shirt_mask.png", "shirt.txt", "dress.txt"):
        os.mkfifo(folder / name)
    for name, target in (
        ("endless.png", "/dev/zero"), ("tty.jpg", "/dev/tty"), ("circle.png", str(folder / "circle.png")),
        ("foreign.png", str(outside / "foreign.png")), ("gone.png", "/nowhere.png"), ("inside.png", "shirt.png"),
        ("coat.txt", str(outside / "secret.txt")), ("hat.txt", "/dev/zero"),
    ):  # fmt: skip
        (folder / name).symlink_to(target)
    for name in ("shirt.png", "dress.png", "coat.png", "hat.png"):
        (folder / name).write_bytes(shirt)
    found: list[Catalogue] = []
    within(20, lambda: found.append(Catalogue(folder)))
    within(20, found[0].refresh)
    garments = {g.picture.name: g for g in found[0].garments()}
    text = json.dumps([[g.id, g.name, g.problem] for g in garments.values()], ensure_ascii=False)
    text.encode()  # the API would answer 500 otherwise
    assert "password" not in text
    assert "outside of the catalogue" in str(garments["foreign.png"].problem)
    assert "outside of the catalogue" in str(garments["coat.png"].problem)
    for name in (
        "shirt.png",
        "dress.png",
        "hat.png",
        "inside.png",
        os.fsdecode(b"caf\xe9.png"),
        os.fsdecode(b"\xff\xfe.png"),
    ):
        entry = garments[name]
        assert entry.problem is None and found[0].thumbnail(entry.id) and found[0].load(entry.id)[1].any(), name
    assert not {"pipe.png", "endless.png", "tty.jpg", "circle.png", "gone.png"} & garments.keys()


def test_names_that_are_not_utf8_are_served_and_removed(kiosk: Served, shirt: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(kiosk.garments) + b"/\xe9t\xe9.png"))
    path.write_bytes(shirt)
    bad = Path(os.fsdecode(os.fsencode(kiosk.garments) + b"/b\xe9.png"))
    bad.write_bytes(b"no picture")

    def ids() -> list[str]:
        return [g["id"] for g in kiosk.client.get("/api/garments").json()["garments"]]

    wanted = [garment_id(p.stem) for p in (path, bad)]
    wait_for(lambda: set(wanted) <= set(ids()))
    assert kiosk.client.put("/api/garment", json={"id": wanted[0]}).status_code == 200
    assert kiosk.client.get(f"/api/garments/{wanted[0]}/thumbnail.jpg").content.startswith(b"\xff\xd8")
    assert kiosk.client.get(f"/api/garments/{wanted[1]}/thumbnail.jpg").status_code == 404
    for garment in wanted:
        assert kiosk.client.delete(f"/api/garments/{garment}").status_code == 204
    assert not path.exists() and not bad.exists()


def test_a_folder_that_vanished_is_an_error_for_the_caller_not_a_500(kiosk: Served, shirt: bytes) -> None:
    upload = kiosk.client.post("/api/uploads", content=shirt).json()
    away = kiosk.folder / "away"
    kiosk.garments.rename(away)
    try:
        answer = kiosk.client.post(f"/api/uploads/{upload['id']}/accept", json={"name": "late"})
        assert answer.status_code == 507 and "garments" in answer.json()["detail"]
        wait_for(lambda: "cannot read" in str(kiosk.client.get("/api/garments").json()["problem"]))
        for path in ("/api/garments/nova/mask.jpg", "/api/garments/nova/thumbnail.jpg", "/api/status"):
            assert kiosk.client.get(path).status_code in (200, 404, 409), path
        assert kiosk.client.delete("/api/garments/flower").status_code in (204, 507)
    finally:
        away.rename(kiosk.garments)
    assert kiosk.client.post(f"/api/uploads/{upload['id']}/accept", json={"name": "late"}).status_code == 201


def test_two_thousand_garments_do_not_delay_the_start(
    tmp_path: Path, shirt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "AT_ONCE_S", 0.2)
    folder, kept = tmp_path / "garments", tmp_path / "state" / "thumbnails"
    folder.mkdir()
    (folder / "g0.png").write_bytes(shirt)
    for number in range(1, 2000):
        os.link(folder / "g0.png", folder / f"g{number}.png")
    began = time.process_time()  # others may use the machine, too
    found = Catalogue(folder, kept)
    took = time.process_time() - began
    assert took < 3, took  # 47 s when every picture was decoded first
    assert len(found.garments()) == 2000 and not list(kept.iterdir())
    assert found.thumbnail("g1999").startswith(b"\xff\xd8")  # whoever asks does not wait for the others
    began = time.process_time()
    assert not found.refresh()
    assert time.process_time() - began < 2
    drawn = len(list(kept.glob("*.jpg")))
    assert 2 <= drawn < 2000
    again = Catalogue(folder, kept)  # a restart draws none anew
    assert again._thumbnails._names >= {p.name for p in kept.glob("*.jpg")} and again.thumbnail("g1999")


def test_thumbnails_are_drawn_in_the_background_and_kept(
    tmp_path: Path, shirt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "AT_ONCE_S", 0.0)
    folder, kept = tmp_path / "garments", tmp_path / "thumbnails"
    folder.mkdir()
    for number in range(5):
        (folder / f"g{number}.png").write_bytes(shirt)
    (folder / "bad.png").write_bytes(b"no picture")
    found = Catalogue(folder, kept)
    found.watch(lambda: None)
    wait_for(lambda: len(list(kept.glob("*.ok"))) == 5)
    found.close()
    assert "bad.png" in str(found.get("bad").problem)  # type: ignore[union-attr]
    reads: list[object] = []
    real = catalogue.image.read
    monkeypatch.setattr(catalogue.image, "read", lambda path, **more: reads.append(path) or real(path, **more))  # type: ignore[func-returns-value]
    again = Catalogue(folder, kept)
    for _ in range(10):
        again._check_next()
    assert [Path(str(p)).name for p in reads] == ["bad.png"]
    (folder / "g0.png").unlink()
    again.refresh()
    assert len(list(kept.iterdir())) == 8  # what belongs to nothing is deleted
    next(kept.glob("*.jpg")).write_bytes(b"\xff\xd8 damaged")
    assert all(again.thumbnail(f"g{n}").endswith(b"\xff\xd9") for n in range(1, 5))
    shutil.rmtree(kept)
    assert all(again.thumbnail(f"g{n}") for n in range(1, 5))


# ------------------------------------------------------------------ what was decided
def break_state(served: Served) -> Path:
    """From now on nothing can be written into the state folder: a file lies in its place."""
    folder = served.folder / "state"
    folder.rename(served.folder / "state-away")
    folder.write_text("no folder")
    return folder


def mend_state(served: Served) -> None:
    (served.folder / "state").unlink()
    (served.folder / "state-away").rename(served.folder / "state")


def saved_metric(served: Served) -> float:
    families = text_string_to_metric_families(served.client.get("/metrics").text)
    return next(s.value for family in families for s in family.samples if s.name == "spgvton_state_saved")


def test_what_cannot_be_written_is_told_to_the_caller_and_to_staff(
    kiosk: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "RETRY_S", 0.2)
    assert saved_metric(kiosk) == 1 and not kiosk.status()["state_problem"]
    break_state(kiosk)
    try:
        answer = kiosk.client.put("/api/privacy", json={"on": True})
        assert answer.status_code == 507 and "not kept over a restart" in answer.json()["detail"]
        assert kiosk.status()["privacy"]  # it holds all the same
        answer = kiosk.client.put("/api/garment", json={"id": "flower"})
        assert answer.status_code == 507 and kiosk.status()["garment"] == "flower"
        assert "not kept" in kiosk.status()["state_problem"] and saved_metric(kiosk) == 0
        assert kiosk.client.put("/api/privacy", json={"on": False}).status_code == 507
        assert not kiosk.status()["privacy"]
        kiosk.client.put("/api/privacy", json={"on": True})
    finally:
        mend_state(kiosk)
    wait_for(lambda: saved_metric(kiosk) == 1)  # it is written without anybody asking again
    written = json.loads((kiosk.folder / "state" / "state.json").read_text())
    assert written == {"garment": "flower", "privacy": True}
    assert not kiosk.status()["state_problem"]
    assert kiosk.client.put("/api/privacy", json={"on": False}).status_code == 204


DAMAGE = {
    "empty": b"", "zeros": bytes(40), "half": b'{"garment": "nova", "priv', "a list": b"[]", "not text": b"\xff\xfe\xff",
    "a number": b'{"garment": null, "privacy": 0}', "another version": b'{"garments": []}', "deep": b"[" * 60000,
}  # fmt: skip


@pytest.mark.parametrize("how", [*DAMAGE, "folder", "pipe", "huge", "endless", "link to nothing"])
def test_a_damaged_state_is_private(tmp_path: Path, how: str) -> None:
    file = state.StateFile(tmp_path)
    assert file.read() == state.Saved() and not file.problem  # there was none: the first start
    if how in DAMAGE:
        file.path.write_bytes(DAMAGE[how])
    elif how == "folder":
        file.path.mkdir()
    elif how == "pipe":
        os.mkfifo(file.path)
    elif how == "huge":
        file.path.write_bytes(b" " * (state.MAX_STATE + 1))
    else:
        file.path.symlink_to("/dev/zero" if how == "endless" else "/nowhere")
    found: list[state.Saved] = []
    within(10, lambda: found.append(file.read()))
    assert found[0].privacy and "private" in file.problem


def test_a_kiosk_with_a_damaged_state_starts_private_and_stays_so_until_told(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text('{"garment": "nova", "privacy": fal')
    with serve(tmp_path, tiny_bundle) as kiosk:
        found = kiosk.status()
        assert found["privacy"] and "private" in found["state_problem"] and "private" in found["last_error"]
        assert kiosk.client.put("/api/garment", json={"id": "nova"}).status_code == 200
        assert kiosk.status()["privacy"]
        assert kiosk.client.put("/api/privacy", json={"on": False}).status_code == 204
        assert not kiosk.status()["privacy"] and not kiosk.status()["state_problem"]
    assert json.loads((tmp_path / "state" / "state.json").read_text()) == {"garment": "nova", "privacy": False}


def test_a_configuration_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    path = make_shop(tmp_path / "shop", tmp_path)
    path.unlink()
    os.mkfifo(path)

    def load() -> None:
        with pytest.raises(SpgvtonError, match="no ordinary file"):
            config.load(path)

    within(10, load)
