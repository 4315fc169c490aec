"""Who gets in: token, Host, Origin, rates; against the real server, bound to an address that others could reach."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from kiosk_shop import Served, serve

from spgvton.errors import SpgvtonError
from spgvton.kiosk.service import state
from spgvton.kiosk.service.addresses import is_loopback
from spgvton.kiosk.service.rates import ADDRESSES, Rates

SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    """A kiosk that needs a token."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "state").mkdir()
    token = folder / "state/token"
    token.write_text(SECRET + "\n")
    token.chmod(0o600)
    with serve(folder, tiny_bundle, web="{port: 0, token: always, allowed_hosts: [mirror.shop]}") as served:
        yield served


def ask(served: Served, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    with httpx.Client(base_url=served.running.url, timeout=60) as client:
        return client.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_nothing_without_the_token(locked: Served) -> None:
    for path in ("/", "/operator", "/api/status", "/stream.mjpg", "/api/frame.jpg", "/metrics", "/openapi.json"):
        assert ask(locked, path, accept="*/*").status_code == 401, path
    for method, path in (("PUT", "/api/garment"), ("POST", "/api/uploads"), ("DELETE", "/api/garments/nova"),
                         ("POST", "/api/restart"), ("POST", "/api/review")):  # fmt: skip
        assert ask(locked, path, method).status_code == 401
    assert (locked.garments / "nova.jpg").exists()
    page = ask(locked, "/", accept="text/html")
    assert page.status_code == 303 and page.headers["location"] == "/login"
    for path in ("/healthz", "/login", "/static/style.css"):
        assert ask(locked, path).status_code == 200


def test_bearer_and_cookie(locked: Served) -> None:
    assert ask(locked, "/api/status", authorization=f"Bearer {SECRET}").status_code == 200
    picture = ask(locked, "/api/frame.jpg", authorization=f"Bearer {SECRET}")  # a screenshot for whoever looks after it
    assert (
        picture.status_code == 200 and picture.content.startswith(b"\xff\xd8") and picture.content.endswith(b"\xff\xd9")
    )
    with httpx.Client(base_url=locked.running.url, timeout=60) as client:
        answer = client.post("/api/login", json={"token": SECRET})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and SECRET not in cookie
        assert client.get("/api/status").status_code == 200
        assert client.put("/api/garment", json={"id": "nova"}).status_code == 200
    assert ask(locked, "/api/status", cookie=f"other={{[; spgvton={client.cookies['spgvton']}; x").status_code == 200
    assert ask(locked, "/api/status", cookie="spgvton=wrong").status_code == 401
    assert ask(locked, "/api/status", cookie=f"spgvton={SECRET}").status_code == 401


def test_guessing_is_slowed_down(locked: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        answers = [ask(locked, "/api/status", authorization=f"Bearer wrong{n}") for n in range(8)]
    assert answers[0].status_code == 401 and answers[-1].status_code == 429
    wait = int(answers[-1].headers["retry-after"])
    assert 1 <= wait <= 12 and f"in {wait} s" in answers[-1].json()["detail"]
    told = [r for r in caplog.records if r.getMessage() == "wrong token"]
    assert 5 <= len(told) <= 6 and all(r.address == "127.0.0.1" for r in told)  # type: ignore[attr-defined]
    # The right one is taken at any time: nobody locks it out for others behind the same address.
    assert ask(locked, "/api/status", authorization=f"Bearer {SECRET}").status_code == 200
    with httpx.Client(base_url=locked.running.url, timeout=60) as client:
        wrong = client.post("/api/login", json={"token": "wrong" * 5})
        assert wrong.status_code == 429 or wrong.status_code == 401  # a slow machine may have waited long enough
        assert client.post("/api/login", json={"token": SECRET}).status_code == 204


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost", True), ("127.0.0.1:9", True), ("[::1]:8080", True), ("192.168.1.7", True), ("MIRROR.shop:80", True),
        ("evil.example", False), ("127.0.0.1.evil.example", False), ("", False), ("a@127.0.0.1", False),
        ("127.0.0.1/x", False), ("localhost:x", False), ("[::1", False),
    ],
)  # fmt: skip
def test_names_of_others_are_not_served(locked: Served, host: str, served: bool) -> None:
    """DNS rebinding: the page's own name is in Host, whatever address it resolved to."""
    assert (ask(locked, "/login", host=host).status_code == 200) is served


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"origin": "http://localhost"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://localhost:81"}, False),
        ({"origin": "http://localhost", "sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "same-origin", "origin": "http://localhost"}, True),
    ],
)
def test_other_sites_press_no_buttons(kiosk: Served, headers: dict[str, str], allowed: bool) -> None:
    answer = ask(kiosk, "/api/retake", "POST", host="localhost", **headers)
    assert answer.status_code == (204 if allowed else 403)


def test_other_sites_do_not_embed_the_picture(kiosk: Served) -> None:
    embedded = ask(kiosk, "/stream.mjpg", sec_fetch_site="cross-site", sec_fetch_mode="no-cors", sec_fetch_dest="image")
    assert embedded.status_code == 403
    framed = ask(kiosk, "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe")
    assert framed.status_code == 403
    link = ask(kiosk, "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document")
    assert link.status_code == 200 and link.headers["x-frame-options"] == "DENY"
    assert link.headers["cross-origin-resource-policy"] == "same-origin"


def test_rates_are_limited_and_forget() -> None:
    rates = Rates(rate=0.0, burst=3)
    assert [rates.allows("a") for _ in range(5)] == [True, True, True, False, False]
    assert rates.wait_s("a") and not rates.wait_s("b") and rates.allows("b")
    for n in range(ADDRESSES + 10):
        rates.allows(str(n))
    assert len(rates._buckets) == ADDRESSES
    refilled = Rates(rate=1e12, burst=1)
    assert all(refilled.allows("a") for _ in range(5))


def test_a_token_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    token, new = state.obtain_token(tmp_path / "state")
    assert new and len(token) >= 32
    assert stat.S_IMODE((tmp_path / "state/token").stat().st_mode) == 0o600
    assert state.obtain_token(tmp_path / "state") == (token, False)
    (tmp_path / "state/token").chmod(0o644)
    with pytest.raises(SpgvtonError, match="chmod 600"):
        state.obtain_token(tmp_path / "state")
    (tmp_path / "state/token").chmod(0o600)
    (tmp_path / "state/token").write_text("short")
    with pytest.raises(SpgvtonError, match="fewer than 16"):
        state.obtain_token(tmp_path / "state")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"garment": 1, "privacy": false}', '{"garment": "a"}', "\x00\xff"])
def test_a_damaged_state_is_no_reason_to_stay_away(tmp_path: Path, text: str) -> None:
    file = state.StateFile(tmp_path)
    file.write(state.Saved("nova", True))
    assert file.read() == state.Saved("nova", True)
    file.path.write_text(text, "latin-1")
    assert file.read() == state.Saved(None, privacy=True) and "private" in file.problem  # it fails closed


def test_loopback() -> None:
    for host, own in (("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
                      ("0.0.0.0", False), ("::", False), ("192.168.0.1", False), ("mirror", False)):  # fmt: skip
        assert is_loopback(host) is own
