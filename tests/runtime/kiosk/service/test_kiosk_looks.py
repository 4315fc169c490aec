"""The customer's last looks: kept while she is there, three of them, and gone with her."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kiosk_shop import SLOW, Served, serve, wait_for

from spgvton.kiosk.mirror.looks import MOST, Looks
from spgvton.kiosk.mirror.still import Shown, Still, still_of
from spgvton.video import cv2

PICTURE = np.full((40, 30, 3), 200, np.uint8)


# ------------------------------------------------------------------ which picture
def test_a_still_is_of_what_was_chosen_and_of_now() -> None:
    red, blue = object(), object()
    shown = Shown(red, PICTURE, 10.0)
    assert still_of(shown, red, "red", 11.0) == Still(PICTURE, "red")
    assert still_of(shown, blue, "blue", 11.0) is None  # the networks have not answered for it yet
    assert still_of(shown, red, "red", 13.5) is None  # not how she stands there now
    assert still_of(None, red, "red", 10.0) is None and still_of(shown, red, None, 10.0) is None


def test_three_looks_each_garment_once_and_none_from_before_a_wipe() -> None:
    looks = Looks()
    for name in ("a", "b", "c", "b", "d"):
        assert looks.add(Still(PICTURE, name), name.upper(), looks.epoch)
    assert [look.name for look in looks.all()] == ["C", "B", "D"] and len(looks.all()) == MOST
    before = looks.epoch
    looks.wipe()
    assert looks.all() == [] and looks.add(Still(PICTURE, "a"), "A", before) is None  # encoded while she was forgotten
    assert looks.all() == []


# ------------------------------------------------------------------ a real mirror
@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("looks"), tiny_bundle, source=SLOW) as served:
        yield served


def looks_of(served: Served) -> Any:
    return served.client.get("/api/looks").json()["looks"]


def dressed_in(served: Served, garment: str) -> None:
    assert served.client.put("/api/garment", json={"id": garment}).status_code == 200

    def there() -> bool:
        still = served.running.kiosk.mirror.still()
        return still is not None and still.garment == garment

    wait_for(there)


def test_a_look_that_is_left_is_kept_and_shows_its_own_garment(mirror: Served) -> None:
    dressed_in(mirror, "nova")
    mirror.client.delete("/api/looks")
    dressed_in(mirror, "flower")
    (yellow,) = looks_of(mirror)
    assert yellow["garment"] == "nova"
    kept = mirror.client.post("/api/looks").json()["looks"]
    assert [look["garment"] for look in kept] == ["nova", "flower"]
    colours = []
    for look in kept:
        data = mirror.client.get(look["picture"]).content
        picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        h, w = picture.shape[:2]
        colours.append(picture[h // 3 : h // 2, 2 * w // 5 : 3 * w // 5].reshape(-1, 3).mean(0))
    assert colours[0][1] > 90 > colours[1][1], colours  # yellow, and red
    assert mirror.client.delete("/api/looks").status_code == 204
    assert looks_of(mirror) == [] and mirror.client.get(yellow["picture"]).status_code == 404


def test_privacy_drops_them_at_once_and_nothing_is_on_disk(mirror: Served) -> None:
    mirror.client.delete("/api/looks")
    dressed_in(mirror, "nova")
    mirror.client.delete("/api/looks")
    assert len(mirror.client.post("/api/looks").json()["looks"]) == 1
    assert mirror.client.put("/api/privacy", json={"on": True}).status_code == 204
    assert looks_of(mirror) == [] and mirror.client.post("/api/looks").json()["looks"] == []
    assert mirror.running.kiosk.mirror.still() is None
    assert mirror.client.put("/api/privacy", json={"on": False}).status_code == 204
    names = {path.name for path in mirror.folder.rglob("*") if path.is_file() and path.parent != mirror.garments}
    assert all(name.endswith((".ok", ".jpg")) or name in ("kiosk.yaml", "state.json") for name in names)
    assert {p.parent.name for p in mirror.folder.rglob("*.jpg")} <= {"garments", "thumbnails"}


def test_they_leave_with_the_customer(tmp_path: Path, tiny_bundle: Path) -> None:
    source = "synthetic://?fps=6&stay=12&away=12"
    options = "{max_age_ms: 20000, wipe_after_s: 1}"
    with serve(tmp_path, tiny_bundle, source=source, mirror=options) as kiosk:
        wait_for(lambda: kiosk.client.post("/api/looks").json()["looks"], 120)
        wait_for(lambda: kiosk.status()["state"] == "nobody", 120)
        assert looks_of(kiosk) == []
