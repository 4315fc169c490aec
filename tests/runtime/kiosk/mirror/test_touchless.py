"""What hands do to a kiosk: the right garment, in the right direction, only the customer's, and not behind the privacy switch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kiosk_browser import PORTRAIT, needs_chromium, open_page
from kiosk_hands import SIZE, Float, person
from kiosk_shop import Served, serve, wait_for

from spgvton.errors import SpgvtonError
from spgvton.kiosk.mirror import gesture as g
from spgvton.kiosk.mirror.mirror import Mirror
from spgvton.kiosk.mirror.status import Seen
from spgvton.kiosk.mirror.touchless import Touchless
from spgvton.kiosk.mirror.view import MirrorView
from spgvton.stream.frames import frame_of
from spgvton.stream.loop import Perception, View

UP = (0.1, 0.45)
FPS, DWELL_S = 30, 1.0


class Shop:
    """Five garments, of which the middle one is worn."""

    def __init__(self, rightwards: bool = True, worn: str | None = "c") -> None:
        self.worn, self.refused = worn, ""
        self.hands = Touchless(DWELL_S, lambda: list("abcde"), lambda: self.worn, self.wear, lambda: rightwards)
        self.now = 10.0
        self.does(person(), 1)

    def wear(self, garment: str) -> None:
        if self.refused:
            raise SpgvtonError(self.refused)
        self.worn = garment

    def does(self, k: Float | None, seconds: float) -> Touchless:
        for _ in range(round(FPS * seconds)):
            self.now += 1 / FPS
            self.hands.step(k, self.now)
        return self.hands


def moved(steps: float) -> Float:
    """Her right hand, so many steps to the left of the camera's picture, which is outwards."""
    return person((UP[0] + steps * g.STEP, UP[1]))


@pytest.mark.parametrize(("rightwards", "expected"), [(True, "b"), (False, "d")])
def test_hold_to_choose(rightwards: bool, expected: str) -> None:
    shop = Shop(rightwards)
    assert shop.does(person(UP), 0.3).highlighted == "c"
    assert shop.does(moved(1), 0.2).highlighted == expected
    shop.does(moved(1), DWELL_S)
    wait_for(lambda: shop.worn == expected)
    assert shop.hands.choices == 1
    assert shop.does(person(), 0.3).highlighted is None
    shop.hands.close()


def test_what_is_worn_already_is_not_chosen_again() -> None:
    shop = Shop()
    shop.does(person(UP), 4)
    assert (shop.hands.choices, shop.hands.gesture.progress) == (0, 0.0)
    bare = Shop(worn=None)
    assert bare.does(person(UP), 0.3).highlighted == "a"  # nothing worn: the first one can be
    bare.does(person(UP), DWELL_S)
    wait_for(lambda: bare.worn == "a")
    bare.hands.close()


def test_beyond_the_last_garment_the_way_back_is_one_step() -> None:
    shop = Shop(rightwards=False)
    shop.does(person(UP), 0.3)
    assert shop.does(moved(2), 6 * g.REPEAT_S).highlighted == "e"
    assert shop.does(moved(1), 0.2).highlighted == "d"
    shop.hands.close()


def test_a_garment_that_cannot_be_worn_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    shop.refused = "it is gone"
    shop.does(person(UP), 0.3)
    shop.does(moved(1), DWELL_S + 0.3)
    wait_for(lambda: "it is gone" in str([vars(record) for record in caplog.records]))
    shop.refused = ""
    shop.does(person(UP), 0.2)
    shop.does(moved(1), DWELL_S + 0.3)
    wait_for(lambda: shop.worn == "b")
    shop.hands.close()


def test_who_is_forgotten_has_no_hand() -> None:
    shop = Shop()
    shop.does(person(UP), 0.3)
    shop.hands.reset()
    assert (shop.hands.highlighted, shop.hands.gesture) == (None, g.IDLE)
    assert shop.does(person(UP), 0.1).highlighted is None


@pytest.mark.parametrize("layout", ["result", "side-by-side"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_ring_is_where_the_picture_shows_the_hand(layout: Any, mirrored: bool) -> None:
    """A white dot in the camera's frame, and where the composed picture has it."""
    view = MirrorView(layout=layout, mirrored=mirrored, live=True, written=False)
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[95:106, 495:506] = 255
    shown = View(frame_of(frame, 0, None, 1.0))
    shown.perception = Perception(np.zeros((18, 3), np.float32), "x")
    picture = view(shown)
    x, y = view.place((500, 100), (480, 640))
    left = view.result_corner[0]
    rows, columns = np.nonzero(picture[:, left:].min(axis=2) > 200)
    assert abs(rows.mean() - y * picture.shape[0]) < 2
    assert abs(left + columns.mean() - x * picture.shape[1]) < 2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("touchless")
    with serve(folder, tiny_bundle, source="synthetic://?fps=5", touchless="{dwell_s: 1.0}") as served:
        yield served


class Puppet:
    """Says what the loop sees instead of the loop."""

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mirror: Mirror = served.running.kiosk.mirror
        self.kiosk = served.running.kiosk
        monkeypatch.setattr(self.mirror, "_when_seen", [])
        monkeypatch.setattr(self.mirror, "place", lambda point: self.mirror._view.place(point, SIZE))
        self.now = 1e6
        assert self.kiosk.touchless
        self.kiosk.touchless.reset()

    def does(self, k: Float | None, seconds: float) -> None:
        for _ in range(round(FPS * seconds)):
            self.now += 1 / FPS
            self.kiosk._seen(Seen("live", "", k, SIZE, self.now))


@needs_chromium
def test_a_hand_chooses_on_the_page(browser: Any, shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    page, faults = open_page(browser, shop, "", PORTRAIT)
    page.wait_for_selector("#curtain", state="hidden")
    page.get_by_text("Raise a hand, or touch a garment").wait_for()
    wait_for(lambda: shop.running.kiosk.moments.viewers > 0)
    shop.client.put("/api/garment", json={"id": "nova"})
    puppet = Puppet(shop, monkeypatch)
    puppet.does(person(), 1)
    puppet.does(person(UP), 0.3)
    page.wait_for_selector("#hand", state="visible")
    ring, picture = page.locator("#hand").bounding_box(), page.locator("#view").bounding_box()
    assert ring["x"] + ring["width"] / 2 > picture["x"] + picture["width"] / 2  # her right hand, as in a mirror
    page.get_by_text("Hold it still to choose").wait_for()
    puppet.does(moved(1), 0.2)  # outwards: to the right of the page, whose list is flower, nova, striped
    page.wait_for_selector(".choice.highlighted:has(input[value=striped])")
    assert shop.status()["garment"] == "nova"
    puppet.does(moved(1), 1.1)
    wait_for(lambda: shop.status()["garment"] == "striped")
    page.wait_for_selector("input[value=striped]:checked", state="attached")
    puppet.does(person(), 0.3)
    page.wait_for_selector("#hand", state="hidden")
    page.get_by_role("radio", name="Flower").check(force=True)  # touch goes on
    wait_for(lambda: shop.status()["garment"] == "flower")
    assert not faults
    page.context.close()


def test_privacy_hides_the_hand(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    puppet = Puppet(shop, monkeypatch)
    hands = shop.running.kiosk.touchless
    assert hands
    puppet.does(person(), 1)
    puppet.does(person(UP), 0.3)
    assert hands.highlighted
    shop.running.kiosk.set_privacy(True)
    try:
        assert hands.highlighted is None and hands.gesture is g.IDLE
    finally:
        shop.running.kiosk.set_privacy(False)


def test_events_tell_the_whole_moment(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    puppet = Puppet(shop, monkeypatch)
    with shop.client.stream("GET", "/api/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ":"
        wait_for(lambda: shop.running.kiosk.moments.viewers > 0)
        puppet.does(person(), 1)
        puppet.does(person(UP), 0.3)
        for line in lines:
            moment = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if moment.get("hand"):
                break
    assert moment.keys() == {"state", "hint_code", "hand", "highlighted", "choice", "agreeing"}
    assert 0 < moment["hand"]["x"] < 1 and 0 < moment["hand"]["y"] < 1 and moment["highlighted"]


def test_without_touchless_nobody_listens(tmp_path: Path, tiny_bundle: Path) -> None:
    with serve(tmp_path, tiny_bundle, touchless="{enabled: false}") as shop:
        assert shop.running.kiosk.touchless is None
        assert shop.client.get("/api/page").json()["touchless"] is False
