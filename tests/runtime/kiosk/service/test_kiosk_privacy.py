"""The privacy notice says what this kiosk does; and where it asks first, nothing is seen before somebody agreed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from kiosk_hands import film
from kiosk_shop import SLOW, Served, make_shop, serve, wait_for

from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.kiosk.mirror import consent
from spgvton.kiosk.mirror.consent import ConsentStep
from spgvton.kiosk.mirror.hand_watch import HandWatch
from spgvton.kiosk.mirror.lifecycle import State
from spgvton.kiosk.service import config, notice
from spgvton.kiosk.service.language import shipped
from spgvton.stream.capture import open_file


def load(folder: Path, **settings: str) -> config.KioskConfig:
    return config.load(make_shop(folder, folder, **settings))


# ------------------------------------------------------------------ the notice
def test_the_notice_says_what_the_settings_are(tmp_path: Path) -> None:
    english = shipped()["en"]
    plain = notice.as_text(load(tmp_path / "a"), english)
    assert "11 seconds after you have left" in plain  # 1 s unseen and wipe_after_s
    assert "Recording is not set up" in plain and "phone" not in plain and "Questions" not in plain
    assert "blackened" not in plain and "{" not in plain
    full = notice.as_text(
        load(
            tmp_path / "b", recording="{folder: r}", mirror="{mode: pose, wipe_after_s: 30}", web="{host: 0.0.0.0}",
            take_home="{address: 'http://10.0.0.2', minutes: 2.5}", privacy="{consent: true, contact: 'Shop, shop@example.org'}",
        ),
        english,
    )  # fmt: skip
    assert "raises a hand" in full
    for off in (
        {"privacy": "{consent: true, hand: false}"},
        {"privacy": "{consent: true}", "touchless": "{enabled: false}"},
    ):
        blind = notice.as_text(load(tmp_path / str(len(off)), **off), english)
        assert "raises a hand" not in blind and "blackened before anything looks" in blind
    for words in ("31 seconds", "One picture of you", "for 2.5 minutes at most", "Staff can switch a recording on",
                  "blackened", "Questions: Shop, shop@example.org"):  # fmt: skip
        assert words in full


@pytest.mark.parametrize("code", sorted(shipped()))
def test_the_notice_is_printed_in_every_language(tmp_path: Path, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_shop(tmp_path / "shop", tmp_path, privacy="{contact: 'shop@example.org'}")
    assert main(["kiosk", "privacy-notice", "--config", str(path), "--language", code]) == 0
    text = capsys.readouterr().out
    assert text.startswith(shipped()[code].words["privacy.title"]) and "shop@example.org" in text and "11" in text
    assert not re.search(r"\{\w+\}", text)


def test_a_language_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_shop(tmp_path / "shop", tmp_path)
    assert main(["kiosk", "privacy-notice", "--config", str(path), "--language", "xx"]) == 2
    assert "zh-Hans" in capsys.readouterr().err


def test_a_shop_may_use_its_own_words(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.mkdir()
    (words / "en.json").write_text('{"words": {"privacy.what": "We film you."}}')
    path = make_shop(tmp_path / "shop", tmp_path, language=f"{{folder: {words}}}")
    from spgvton.kiosk.service.language import languages

    found = config.load(path)
    assert notice.paragraphs(found, languages(found.language.folder)["en"])[0] == "We film you."


# ------------------------------------------------------------------ the step
class Camera:
    """What ConsentStep steers."""

    def __init__(self) -> None:
        self.closed: list[bool] = []
        self.state: State = "nobody"


def test_consent_ends_with_the_customer_but_not_on_her_way_to_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera()
    step = ConsentStep(camera.closed.append, lambda: camera.state)
    assert camera.closed == [True] and step.asking
    step.forgotten()
    step.agree()
    assert not step.asking and camera.closed == [True, False]
    camera.state = "approaching"
    step.forgotten()  # a glimpse of her
    assert not step.asking
    camera.state = "live"
    step.forgotten()
    assert step.asking and camera.closed == [True, False, True]
    monkeypatch.setattr(consent, "ARRIVE_S", 0.05)
    camera.state = "nobody"
    step.agree()
    wait_for(lambda: step.asking, 20)  # nobody came
    step.agree()
    camera.state = "approaching"
    wait_for(lambda: step._timer is None or not step._timer.is_alive(), 20)
    assert not step.asking
    step.forgotten()  # she never stood well, and is gone
    assert step.asking
    step.close()


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    privacy = "{consent: true, contact: shop@example.org}"
    with serve(tmp_path_factory.mktemp("asking"), tiny_bundle, source=SLOW, privacy=privacy) as served:
        yield served


def light(served: Served) -> float:
    """Of the middle of the picture."""
    data = served.client.get("/api/frame.jpg").content
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    h, w = picture.shape
    return float(picture[h // 4 : h // 3, w // 4 : -w // 4].std())


def test_nothing_is_seen_before_somebody_agrees_and_after_she_ends_it(asking: Served) -> None:
    client, mirror = asking.client, asking.running.kiosk.mirror
    found = asking.status()
    assert found["asks"] and found["asking"] and not found["privacy"]
    assert found["state"] == "nobody" and found["answers"] == 0
    frames = found["frames_out"]
    wait_for(lambda: asking.status()["frames_out"] > frames + 5)
    assert asking.status()["state"] == "nobody" and light(asking) < 2  # somebody stands there, and is not seen
    assert client.post("/api/consent", json={}).status_code == 422
    assert client.post("/api/consent", json={"agreed": False}).status_code == 422
    assert asking.status()["asking"]
    assert client.post("/api/consent", json={"agreed": True}).status_code == 204
    wait_for(lambda: asking.status()["state"] == "live", 120)
    wait_for(mirror.still, 120)
    assert light(asking) > 5 and client.post("/api/looks").json()["looks"]
    assert client.delete("/api/consent").status_code == 204
    found = asking.status()
    assert found["asking"] and found["state"] == "nobody"
    assert client.get("/api/looks").json()["looks"] == [] and mirror.still() is None
    wait_for(lambda: light(asking) < 2)
    live = mirror._dresser._live  # type: ignore[union-attr]
    wait_for(lambda: live.plate.is_empty)  # the empty room behind her, too


# ------------------------------------------------------------------ a raised hand before consent
def test_before_consent_a_raised_hand_is_all_that_is_seen(tmp_path: Path, tiny_bundle: Path) -> None:
    source = film(tmp_path / "hand.avi", (False, 1.5), (True, 3))
    with serve(tmp_path / "shop", tiny_bundle, source=source, privacy="{consent: true}") as served:
        kiosk = served.running.kiosk
        assert served.client.get("/api/page").json()["hand_agrees"]
        with served.client.stream("GET", "/api/events") as answer:
            said = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
            moment = next(moment for moment in said if moment["agreeing"] == 1)
        assert moment | {"agreeing": None} == {
            "state": "nobody", "hint_code": "", "hand": None, "highlighted": None, "choice": 0, "agreeing": None,
        }  # fmt: skip
        found = served.status()
        assert found["asking"] and found["state"] == "nobody" and found["answers"] == 0  # it is the page that agrees
        assert light(served) < 2 and kiosk.mirror.still() is None and not kiosk.looks.all()
        live = kiosk.mirror._dresser._live  # type: ignore[union-attr]
        assert live.plate.is_empty


def test_with_the_privacy_switch_not_even_hands_are_seen(tmp_path: Path, tiny_bundle: Path) -> None:
    source = film(tmp_path / "hand.avi", (True, 3))
    with serve(tmp_path / "shop", tiny_bundle, source=source, privacy="{consent: true}") as served:
        told: list[float | None] = []
        watch = served.running.kiosk.hand_watch
        assert watch
        watch._tell = told.append
        wait_for(lambda: 1.0 in told)
        served.running.kiosk.set_privacy(True)
        out = served.status()["frames_out"]
        wait_for(lambda: served.status()["frames_out"] > out + 5)  # those that were under way
        told.clear()
        wait_for(lambda: served.status()["frames_out"] > out + 40)
        assert not told
        served.running.kiosk.set_privacy(False)
        wait_for(lambda: 1.0 in told)
        assert told[0] is None or told[0] < 0.1  # from the beginning


@pytest.mark.parametrize(
    "settings",
    [{"privacy": "{consent: true, hand: false}"}, {"privacy": "{consent: true}", "touchless": "{enabled: false}"}],
)
def test_where_hands_do_not_agree_nothing_looks(tmp_path: Path, tiny_bundle: Path, settings: dict[str, str]) -> None:
    with serve(tmp_path / "shop", tiny_bundle, source=SLOW, **settings) as served:
        assert served.running.kiosk.hand_watch is None and not served.running.kiosk.mirror._when_waiting
        assert not served.client.get("/api/page").json()["hand_agrees"]


def test_nobody_on_the_clip_agrees_by_accident() -> None:
    """As for an hour in test_gesture.py; here with the network on the frames themselves."""
    told: list[float | None] = []
    watch = HandWatch(0.5, told.append)
    clip = open_file(DemoAssets.open().clip, realtime=False)
    while (frame := clip.read()) is not None:
        watch(replace(frame, captured=frame.timestamp))
    assert not told


def test_the_privacy_switch_asks_again(asking: Served) -> None:
    client = asking.client
    assert client.post("/api/consent", json={"agreed": True}).status_code == 204
    wait_for(lambda: asking.status()["state"] == "live", 120)
    assert client.put("/api/privacy", json={"on": True}).status_code == 204
    assert client.put("/api/privacy", json={"on": False}).status_code == 204
    assert asking.status()["asking"] and asking.status()["state"] == "nobody"


def test_anybody_may_read_the_notice(asking: Served) -> None:
    answer = asking.client.get("/privacy", params={"language": "de"})
    assert answer.status_code == 200 and 'lang="de"' in answer.text and "shop@example.org" in answer.text
    assert asking.client.get("/privacy", params={"language": "xx"}).status_code == 404
    told = asking.client.get("/api/notice", params={"language": "ja"}).json()
    assert told["title"] == shipped()["ja"].words["privacy.title"] and len(told["paragraphs"]) == 6


def test_a_kiosk_that_does_not_ask_says_so(kiosk: Served) -> None:
    assert not kiosk.status()["asks"] and not kiosk.status()["asking"]
    assert kiosk.client.post("/api/consent", json={"agreed": True}).status_code == 409
    assert kiosk.client.delete("/api/consent").status_code == 409
