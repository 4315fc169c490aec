"""Take it home: off unless asked for, one download, no list, no disk, and the privacy switch ends it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from kiosk_shop import SLOW, Served, make_shop, serve, wait_for

from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton.kiosk.service import config
from spgvton.kiosk.service.take_home import MAX_BYTES, PATH, Busy, TakeHome, check_reachable, qr_rows
from spgvton.video import cv2

TOKEN = "correct-horse-battery"


# ------------------------------------------------------------------ what is held
def test_a_still_is_held_once_and_for_its_time() -> None:
    held = TakeHome("http://192.168.1.20:8080/", 0.3 / 60, 2)
    first = held.offer(b"one", "de", held.epoch)
    assert len(first) == 32 and held.url(first) == f"http://192.168.1.20:8080/take/{first}/"
    found = held.get(first)
    assert found is not None and (found.data, found.language) == (b"one", "de")
    assert held.take(first) == b"one" and held.take(first) is None and held.get(first) is None
    second = held.offer(b"two", "en", held.epoch)
    assert first != second
    wait_for(lambda: not held._waiting, 20)  # out of memory, not just out of reach
    assert held.take(second) is None


def test_how_many_and_how_large_and_how_often_is_limited() -> None:
    held = TakeHome("http://10.0.0.2", 5, 2)
    with pytest.raises(SpgvtonError, match="MiB"):
        held.offer(bytes(MAX_BYTES + 1), "en", held.epoch)
    for _ in range(2):
        held.offer(b"x", "en", held.epoch)
    with pytest.raises(Busy, match="wait a few seconds"):
        held.offer(b"x", "en", held.epoch)
    held._offers.burst = held._offers.rate = 1e6
    with pytest.raises(Busy, match="2 pictures wait"):
        held.offer(b"x", "en", held.epoch)
    before = held.epoch
    held.wipe()
    assert not held._waiting
    with pytest.raises(SpgvtonError, match="private"):
        held.offer(b"x", "en", before)  # a still from before the switch
    waits = [held.wrong("10.0.0.9") for _ in range(12)]
    assert waits[:10] == [0] * 10 and waits[10] > 0 and held.wrong("10.0.0.8") == 0


def test_one_download_of_many_at_the_same_time() -> None:
    held = TakeHome("http://10.0.0.2", 5, 2)
    secret, found = held.offer(b"x", "en", held.epoch), []
    threads = [threading.Thread(target=lambda: found.append(held.take(secret))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == sorted([b"x", *[None] * 7], key=str)


def test_the_code_says_the_address() -> None:
    url = f"http://192.168.100.200:8080{PATH}{'x' * 32}/"
    rows = qr_rows(url)
    assert len({len(row) for row in rows} | {len(rows)}) == 1
    dark = np.pad(np.array([[int(c) for c in row] for row in rows], np.uint8), 4)
    picture = np.kron(255 * (1 - dark), np.ones((8, 8), np.uint8)).astype(np.uint8)
    said, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
    assert said == url


# ------------------------------------------------------------------ where
def load(folder: Path, **settings: str) -> config.KioskConfig:
    folder.mkdir()
    return config.load(make_shop(folder / "shop", folder, **settings))


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:80", "http://0.0.0.0:8080", "https://a.localhost",
     "192.168.1.2:8080", "ftp://192.168.1.2", "http://", "http://192.168.1.2:x", "http://192.168.1.2/take", "http://a:b@c"],
)  # fmt: skip
def test_an_address_that_no_phone_reaches_is_refused_in_one_line(tmp_path: Path, address: str) -> None:
    with pytest.raises(SpgvtonError) as refused:
        load(tmp_path / "a", take_home=f"{{address: '{address}'}}")
    words = str(refused.value)
    assert "take_home.address" in words and "\n" not in words


def test_a_kiosk_that_listens_on_loopback_is_refused_at_the_start_and_by_doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = load(tmp_path / "a", take_home="{address: 'http://192.168.1.2:8080'}")
    with pytest.raises(SpgvtonError, match=r"listens on 127\.0\.0\.1, where no phone reaches it"):
        check_reachable(alone)
    path = tmp_path / "a" / "shop" / "kiosk.yaml"
    assert main(["kiosk", "run", "--config", str(path)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "take_home" in line]
    assert "web.host: 0.0.0.0" in line
    assert main(["doctor", "--kiosk", str(path)]) == 1
    assert "no phone reaches it" in capsys.readouterr().out
    for web in ("{host: 0.0.0.0}", "{trusted_proxies: [127.0.0.1]}"):
        check_reachable(load(tmp_path / web[1:5], take_home="{address: 'http://192.168.1.2:8080'}", web=web))
    check_reachable(load(tmp_path / "off"))


# ------------------------------------------------------------------ a real kiosk, and a phone
@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    """A kiosk that needs a token, and announces the loopback address under a name, as no shop could."""
    folder = tmp_path_factory.mktemp("take")
    (folder / "state").mkdir()
    (folder / "state/token").write_text(TOKEN)
    (folder / "state/token").chmod(0o600)
    with serve(
        folder,
        tiny_bundle,
        source=SLOW,
        web="{port: 0, host: 0.0.0.0}",
        take_home="{address: 'http://shop.example:8080'}",
    ) as served:
        served.client.headers["authorization"] = f"Bearer {TOKEN}"
        yield served


def phone(served: Served) -> httpx.Client:
    """No token, no cookie; and the announced name."""
    return httpx.Client(base_url=served.running.url, headers={"host": "shop.example:8080"}, timeout=60)


def offered(served: Served) -> dict[str, str]:
    held = served.running.kiosk.take_home
    assert held
    held._offers = type(held._offers)(rate=1e6, burst=1e6)
    answers: list[httpx.Response] = []

    def made() -> bool:  # once she is dressed
        answers.append(served.client.post("/api/take-home", json={"consent": True}))
        return answers[-1].status_code == 201

    wait_for(made)
    found: dict[str, str] = answers[-1].json()
    return found


def test_without_an_address_there_is_none(kiosk: Served) -> None:
    assert not kiosk.client.get("/api/page").json()["take_home"]
    assert kiosk.client.post("/api/take-home", json={"consent": True}).status_code == 404
    assert kiosk.client.get(f"/take/{'x' * 32}/look.jpg").status_code == 404


def test_a_phone_fetches_it_once_without_token(shop: Served) -> None:
    assert shop.client.get("/api/page").json()["take_home"]
    for body in ({}, {"consent": False}):
        assert shop.client.post("/api/take-home", json=body).status_code == 422  # nobody was asked
    offer = offered(shop)
    assert offer["url"].startswith("http://shop.example:8080/take/")
    path = httpx.URL(offer["url"]).path
    with phone(shop) as client:
        assert client.post("/api/take-home", json={"consent": True}).status_code == 401
        assert client.get(f"/api/take-home/{offer['secret']}").status_code == 401
        for _ in range(3):  # programs that look at links first take nothing away
            assert "Save the picture" in client.get(path).text
            assert client.head(f"{path}look.jpg").status_code in (404, 405)
        assert shop.client.get(f"/api/take-home/{offer['secret']}").json()["seconds"] > 200
        answer = client.get(f"{path}look.jpg")
        assert answer.headers["cache-control"] == "no-store" and "attachment" in answer.headers["content-disposition"]
        picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and min(picture.shape[:2]) >= 400
        for again in (path, f"{path}look.jpg"):
            answer = client.get(again)
            assert answer.status_code == 404 and "Nothing of it is left" in answer.text
        assert client.get(f"/take/{'A' * 32}/look.jpg").status_code == 404
        assert client.get("/take/").status_code == 404  # no list
    assert shop.client.get(f"/api/take-home/{offer['secret']}").json()["seconds"] == 0
    written = [p for p in shop.folder.rglob("*") if p.is_file() and p.parent.name not in ("garments", "thumbnails")]
    assert {p.name for p in written} <= {"kiosk.yaml", "state.json", "token"}


def test_privacy_and_the_customer_end_it(shop: Served) -> None:
    with phone(shop) as client:
        offer = offered(shop)
        assert shop.client.delete(f"/api/take-home/{offer['secret']}").status_code == 204
        assert client.get(httpx.URL(offer["url"]).path).status_code == 404
        offer = offered(shop)
        assert shop.client.put("/api/privacy", json={"on": True}).status_code == 204
        assert client.get(f"{httpx.URL(offer['url']).path}look.jpg").status_code == 404
        answer = shop.client.post("/api/take-home", json={"consent": True})
        assert answer.status_code == 409 and "nobody is dressed" in answer.json()["detail"]
    assert shop.client.put("/api/privacy", json={"on": False}).status_code == 204


def test_guessing_is_slowed_down_but_the_right_address_is_served(shop: Served) -> None:
    offer = offered(shop)
    with phone(shop) as client:
        codes = [client.get(f"/take/{number:032d}/look.jpg").status_code for number in range(14)]
        assert codes[-1] == 429
        assert client.get(f"{httpx.URL(offer['url']).path}look.jpg").status_code == 200


def test_a_download_that_breaks_off_leaves_nothing(shop: Served) -> None:
    offer = offered(shop)
    request = f"GET {httpx.URL(offer['url']).path}look.jpg HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    with socket.create_connection(shop.address) as broken:
        broken.sendall(request.encode())
        broken.recv(100)
    end = time.monotonic() + 20
    while shop.client.get(f"/api/take-home/{offer['secret']}").json()["seconds"]:
        assert time.monotonic() < end
