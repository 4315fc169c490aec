"""The web application of a live kiosk: what the API does, and what clients cannot do to it."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kiosk_shop import Served, encode, wait_for
from prometheus_client.parser import text_string_to_metric_families

from spgvton.kiosk.web import app, endless, guard, uploads_api
from spgvton.video import MAX_PICTURE_PIXELS

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def frames(client: httpx.Client, count: int) -> list[bytes]:
    """COUNT pictures of the live view, as a browser takes them apart."""
    with client.stream("GET", "/stream.mjpg") as answer:
        assert answer.status_code == 200
        boundary = answer.headers["content-type"].split("boundary=")[1].encode()
        data, found = b"", []
        for chunk in answer.iter_raw():
            data += chunk
            while b"\r\n--" + boundary in data[2:]:
                part, _, data = data.partition(b"\r\n--" + boundary)
                head, _, body = part.partition(b"\r\n\r\n")
                assert f"Content-Length: {len(body)}".encode() in head
                found.append(body)
                if len(found) == count:
                    return found
    raise AssertionError("the stream ended")


def skip_frames(served: Served) -> None:
    """Let those pass that were under way."""
    out = served.status()["frames_out"]
    wait_for(lambda: served.status()["frames_out"] > out + 5)


def picture_of(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def connect(served: Served, request: bytes, *, window: int | None = None) -> socket.socket:
    """A bare connection that has sent REQUEST; WINDOW bytes of receive buffer."""
    client = socket.socket()
    if window:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.settimeout(30)
    client.connect(served.address)
    client.sendall(request)
    return client


STREAM = b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_chosen_garment_is_seen_and_remembered(kiosk: Served) -> None:
    def green() -> float:
        """Of the middle of the view, where clothes are."""
        picture = picture_of(frames(kiosk.client, 2)[1])
        h, w = picture.shape[:2]
        return float(picture[h // 3 : h // 2, 2 * w // 5 : 3 * w // 5, 1].mean())

    for garment, seen in (("nova", lambda: green() > 110), ("flower", lambda: green() < 80)):  # yellow, red
        answer = kiosk.client.put("/api/garment", json={"id": garment})
        assert answer.status_code == 200 and answer.json()["worn"]
        wait_for(seen)
        saved = json.loads((kiosk.folder / "state/state.json").read_text())
        assert saved == {"garment": garment, "privacy": False}
    worn = [g["id"] for g in kiosk.client.get("/api/garments").json()["garments"] if g["worn"]]
    assert worn == ["flower"]


def test_the_picture_is_encoded_once_for_fifty_viewers(kiosk: Served) -> None:
    before, shown = kiosk.running.viewers.sink.encoded, kiosk.status()["frames_out"]

    def look(_: int) -> int:
        with httpx.Client(base_url=kiosk.running.url, timeout=120) as client:
            return sum(p.startswith(JPEG_START) and p.endswith(JPEG_END) for p in frames(client, 3))

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(look, range(50))) == [3] * 50
    encoded = kiosk.running.viewers.sink.encoded - before
    assert 3 <= encoded <= kiosk.status()["frames_out"] - shown + 2  # not 150
    wait_for(lambda: kiosk.running.viewers.sink.viewers == 0)


def test_clients_that_read_slowly_or_never_hold_up_nobody(kiosk: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless, "SEND_S", 1.5)
    never = [connect(kiosk, STREAM, window=2048) for _ in range(3)]
    slow = connect(kiosk, STREAM, window=2048)
    dropped = kiosk.running.viewers.dropped_slow
    try:
        wait_for(lambda: kiosk.running.viewers.sink.viewers == 4)
        out = kiosk.status()["frames_out"]
        assert len(frames(kiosk.client, 5)) == 5  # a good client is served meanwhile
        end, read = time.monotonic() + 180, 0  # the system's own buffers must be full first
        while kiosk.running.viewers.dropped_slow < dropped + 3:
            assert time.monotonic() < end
            read += len(slow.recv(1500))  # a trickle
            time.sleep(0.005)
        assert read > 10_000
        assert kiosk.status()["frames_out"] > out  # the loop went on
        wait_for(lambda: kiosk.running.viewers.sink.viewers <= 1)  # and what they held is given back
        wait_for(lambda: len(kiosk.running.viewers.connections) <= 3)
    finally:
        for client in [*never, slow]:
            client.close()
    wait_for(lambda: kiosk.running.viewers.sink.viewers == 0)


def test_viewers_are_limited(kiosk: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kiosk.running.viewers, "per_address", 2)
    held = [connect(kiosk, STREAM) for _ in range(2)]
    try:
        wait_for(lambda: kiosk.running.viewers.sink.viewers == 2)
        answer = kiosk.client.get("/stream.mjpg")
        assert answer.status_code == 503 and "viewers_per_address" in answer.json()["detail"]
    finally:
        for client in held:
            client.close()
    wait_for(lambda: kiosk.running.viewers.sink.viewers == 0)


def test_half_a_request_is_not_waited_for_for_ever(kiosk: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spgvton.kiosk.web.connections.HEAD_S", 0.3)
    for start in (b"", b"GET / HTTP/1.1\r\nHost: loc"):
        with connect(kiosk, start) as client, suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_a_body_that_trickles_is_not_waited_for(kiosk: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    request = b"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
    with connect(kiosk, request) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_uploads_at_the_same_time_are_limited(kiosk: Served, shirt: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may hold 12 MiB while it arrives; those who send nothing any more free their places when they go."""
    monkeypatch.setattr(guard, "BODY_S", 600.0)
    request = b"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
    too_many = 3
    senders = [connect(kiosk, request) for _ in range(uploads_api.MAX_BODIES + too_many)]
    try:
        wait_for(lambda: len(select.select(senders, [], [], 1)[0]) == too_many)
        answered = select.select(senders, [], [], 0)[0]
        assert all(sender.recv(100).startswith(b"HTTP/1.1 429") for sender in answered)
    finally:
        for sender in senders:
            sender.close()
    wait_for(lambda: kiosk.client.post("/api/uploads", content=shirt).status_code == 201)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it has WIDTH x HEIGHT pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 3_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bad_uploads() -> dict[str, tuple[bytes, str]]:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    jpeg, png, webp = (encode(noise, suffix) for suffix in (".jpg", ".png", ".webp"))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    return {
        "empty": (b"", "not a PNG, JPEG or WebP"),
        "bomb": (png_bomb(30000, 30000), "at most 24 megapixels"),
        "overflow": (png_bomb(2**31 - 1, 2**31 - 1), "at most 24 megapixels"),
        "zero": (png_bomb(0, 0), "the picture"),
        "svg": (svg, "not a PNG, JPEG or WebP"),
        "gif": (b"GIF89a" + bytes(100), "not a PNG, JPEG or WebP"),
        "bmp": (encode(noise, ".bmp"), "not a PNG, JPEG or WebP"),
        "magic only": (b"\x89PNG\r\n\x1a\n", "not a PNG, JPEG or WebP"),
        "half a JPEG": (jpeg[: len(jpeg) // 2], "truncated"),
        "half a PNG": (png[:60], "the picture"),
        "half a WebP": (webp[: len(webp) // 2], "the picture"),
        "tiny": (encode(noise[:8, :8]), "at least 16x16"),
        "lying JPEG": (jpeg.replace(struct.pack(">HH", 300, 300), struct.pack(">HH", 9000, 9000)), "24 megapixels"),
    }


@pytest.mark.parametrize("name", bad_uploads())
def test_bad_uploads_are_refused_in_words(kiosk: Served, name: str) -> None:
    data, words = bad_uploads()[name]
    answer = kiosk.client.post("/api/uploads", content=data)
    assert answer.status_code == 422 and words in answer.json()["detail"], answer.text
    assert "\n" not in answer.json()["detail"]


def test_a_body_that_is_too_large_is_refused(kiosk: Served) -> None:
    for path, size in (("/api/uploads", 20 * 2**20), ("/api/login", 5000)):
        answer = kiosk.client.post(path, content=bytes(size))
        assert answer.status_code == 413 and "more than" in answer.json()["detail"]


def test_an_endless_upload_is_cut_off(kiosk: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(2**20)

    with suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):  # closed while it still sends
        assert kiosk.client.post("/api/uploads", content=endless()).status_code == 413
    assert kiosk.client.get("/healthz").status_code == 200


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", JPEG_START + b"\xff", b"RIFF\0\0\0\0WEBPVP8 "]),
)
def test_no_bytes_make_it_fail(kiosk: Served, data: bytes, start: bytes) -> None:
    assert kiosk.client.post("/api/uploads", content=start + data).status_code in (422, 429)


def test_a_photograph_of_somebody_who_wears_the_garment(kiosk: Served) -> None:
    photograph = Path(__file__).parents[3] / "data" / "person_back.jpg"
    answer = kiosk.client.post("/api/uploads", content=photograph.read_bytes())
    assert answer.status_code == 201
    upload = answer.json()
    assert upload["mask"] and "it is seen from behind" in upload["notes"]
    assert kiosk.client.delete(f"/api/uploads/{upload['id']}").status_code == 204


def test_upload_preview_accept_wear_remove(kiosk: Served, shirt: bytes) -> None:
    answer = kiosk.client.post("/api/uploads", content=shirt)
    assert answer.status_code == 201
    upload = answer.json()
    assert upload["mask"] and upload["problem"] is None and (upload["width"], upload["height"]) == (200, 240)
    preview = picture_of(kiosk.client.get(upload["preview"]).content)
    assert preview[140, 100, 2] > 150 and preview[20, 20].max() < 110  # the garment is bright, the background dark
    url = f"/api/uploads/{upload['id']}"
    saved = kiosk.client.post(f"{url}/accept", json={"name": "../../Über <b>Shirt</b>"})
    assert saved.status_code == 201
    garment = saved.json()
    assert garment["id"] == "ber-b-shirt-b" and garment["name"] == "../../Über <b>Shirt</b>"
    assert {p.name for p in kiosk.garments.iterdir() if p.name.startswith("ber")} == {
        "ber-b-shirt-b.png", "ber-b-shirt-b_mask.png", "ber-b-shirt-b.txt",
    }  # fmt: skip
    assert kiosk.client.get(url + "/preview.jpg").status_code == 404
    assert kiosk.client.get(garment["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert kiosk.client.put("/api/garment", json={"id": garment["id"]}).status_code == 200
    assert picture_of(kiosk.client.get(f"/api/garments/{garment['id']}/mask.jpg").content).shape == (240, 200, 3)
    assert kiosk.client.delete(f"/api/garments/{garment['id']}").status_code == 204
    assert not [p for p in kiosk.garments.iterdir() if p.name.startswith("ber")]
    assert kiosk.client.put("/api/garment", json={"id": garment["id"]}).status_code == 404


def test_an_upload_without_a_garment_takes_a_mask(kiosk: Served) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 160, 3), np.uint8)
    upload = kiosk.client.post("/api/uploads", content=encode(noise)).json()
    assert not upload["mask"] and "send a mask" in upload["problem"]
    url = f"/api/uploads/{upload['id']}"
    assert kiosk.client.post(f"{url}/accept", json={"name": "x"}).status_code == 409
    mask = np.zeros((200, 160), np.uint8)
    assert "white where" in kiosk.client.put(f"{url}/mask", content=encode(mask)).json()["detail"]
    other = mask[:100].copy()
    other[20:80, 40:120] = 255
    assert "pixels" in kiosk.client.put(f"{url}/mask", content=encode(other)).json()["detail"]
    assert "inverted" in kiosk.client.put(f"{url}/mask", content=encode(255 - other)).json()["detail"]
    mask[40:150, 30:120] = 255
    assert kiosk.client.put(f"{url}/mask", content=encode(mask)).json()["mask"]
    assert kiosk.client.delete(url).status_code == 204
    assert kiosk.client.delete(url).status_code == 404


def test_taps_correct_a_mask(kiosk: Served, shirt: bytes) -> None:
    upload = kiosk.client.post("/api/uploads", content=shirt).json()
    url = f"/api/uploads/{upload['id']}"
    assert upload["taps"] == 0

    def shown(x: int, y: int) -> bool:
        return bool(picture_of(kiosk.client.get(upload["preview"]).content)[y, x].max() > 120)

    assert shown(100, 150) and not shown(180, 180)
    after = kiosk.client.post(f"{url}/taps", json={"x": 0.9, "y": 0.75, "add": True}).json()
    assert after["taps"] == 1 and after["mask"] and shown(180, 180)
    assert kiosk.client.request("DELETE", f"{url}/taps").json()["taps"] == 0
    assert not shown(180, 180) and shown(100, 150)
    nothing = kiosk.client.request("DELETE", f"{url}/taps")
    assert nothing.status_code == 422 and nothing.json()["detail"] == "there is no tap to undo"
    assert kiosk.client.post(f"{url}/taps", json={"x": 1.5, "y": 0.5, "add": True}).status_code == 422
    assert (
        kiosk.client.post("/api/uploads/AAAAAAAAAAAAAAAA/taps", json={"x": 0.5, "y": 0.5, "add": True}).status_code
        == 404
    )
    kiosk.client.delete(url)


def test_a_full_disk_is_told_and_nothing_stays(kiosk: Served, shirt: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third file of the garment meets the full disk: /dev/full stands for it."""
    upload = kiosk.client.post("/api/uploads", content=shirt).json()
    before = sorted(kiosk.garments.iterdir())
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".png" and "_mask" not in path.name:
            real(path, data[:100])
            return real(Path("/dev/full"), data)
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = kiosk.client.post(f"/api/uploads/{upload['id']}/accept", json={"name": "full"})
    monkeypatch.undo()
    assert answer.status_code == 507 and "No space left" in answer.json()["detail"]
    assert sorted(kiosk.garments.iterdir()) == before
    assert kiosk.client.post(f"/api/uploads/{upload['id']}/accept", json={"name": "full"}).status_code == 201
    assert kiosk.client.delete("/api/garments/full").status_code == 204


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["..", "%2e%2e", "etc", "passwd", "kiosk.yaml", "state", "token", "\\", "%2f", "//", "%00"]), max_size=6)
    .map("/".join),
))  # fmt: skip
def test_no_path_leads_out(kiosk: Served, name: str) -> None:
    escaped = quote(name, safe="/%.\\")
    # Hypothesis also draws words of this program's source, such as the names of files that anybody may have.
    public = {f"/static/{file.name}" for file in app.STATIC.iterdir()}
    public |= {f"/api/garments/{file.stem}/mask.jpg" for file in kiosk.garments.iterdir()}
    for path in (f"/static/{escaped}", f"/api/garments/{escaped}/mask.jpg", f"/api/uploads/{escaped}/preview.jpg"):
        client = http.client.HTTPConnection(*kiosk.address, timeout=30)
        client.request("GET", path)  # as it is: httpx would tidy it up
        answer = client.getresponse()
        body = answer.read()
        client.close()
        assert answer.status in (400, 404, 422, 429) or (answer.status == 200 and path in public), (path, answer.status)
        assert b"synthetic://" not in body and b"root:" not in body


def test_the_catalogue_is_watched(kiosk: Served, shirt: bytes) -> None:
    def listed() -> dict[str, str | None]:
        return {g["id"]: g["problem"] for g in kiosk.client.get("/api/garments").json()["garments"]}

    new = kiosk.garments / "new.png"
    new.write_bytes(shirt[:50])  # a copy under way
    wait_for(lambda: "new" in listed())
    assert "new.png" in (listed()["new"] or "")
    assert kiosk.client.put("/api/garment", json={"id": "new"}).status_code == 409
    new.write_bytes(shirt)
    wait_for(lambda: listed()["new"] is None)
    new.unlink()
    wait_for(lambda: "new" not in listed())


def test_privacy_blanks_the_picture_and_ends_a_recording(kiosk: Served) -> None:
    wait_for(lambda: kiosk.status()["state"] == "live")
    assert kiosk.client.put("/api/recording", json={"on": True}).status_code == 204
    assert kiosk.status()["recording"]
    sink = kiosk.running.kiosk.recording
    assert sink
    wait_for(lambda: any(sink.folder.iterdir()))
    out = kiosk.status()["frames_out"]
    wait_for(lambda: kiosk.status()["frames_out"] > out + 3)
    assert kiosk.client.put("/api/privacy", json={"on": True}).status_code == 204
    status = kiosk.status()
    assert status["privacy"] and not status["recording"] and status["state"] == "nobody"
    assert kiosk.client.put("/api/recording", json={"on": True}).status_code == 409
    skip_frames(kiosk)
    picture = picture_of(kiosk.client.get("/api/frame.jpg").content)
    assert picture.mean() < 60  # a dark panel with two words
    wait_for(lambda: [p for p in sink.folder.iterdir() if p.suffix == ".mkv" and not p.name.startswith(".")])
    (file,) = sink.folder.iterdir()
    assert cv2.VideoCapture(str(file)).read()[0]
    assert kiosk.client.put("/api/privacy", json={"on": False}).status_code == 204
    wait_for(lambda: kiosk.status()["state"] == "live")


def test_retake_begins_anew_with_the_customer(kiosk: Served, caplog: pytest.LogCaptureFixture) -> None:
    wait_for(lambda: kiosk.status()["state"] == "live")
    with caplog.at_level("INFO"):
        assert kiosk.client.post("/api/retake").status_code == 204
        wait_for(lambda: "approaching -> live" in caplog.text)
    wait_for(lambda: kiosk.status()["state"] == "live")


def test_nothing_stays_open(kiosk: Served, shirt: bytes) -> None:
    """Garments are worn, added and removed, viewers come and go: descriptors and threads do not add up."""

    def a_busy_day() -> None:
        for garment in ("nova", "flower"):
            kiosk.client.put("/api/garment", json={"id": garment}).raise_for_status()
        upload = kiosk.client.post("/api/uploads", content=shirt).json()["id"]
        garment = kiosk.client.post(f"/api/uploads/{upload}/accept", json={"name": "passing"}).json()["id"]
        assert kiosk.client.get(f"/api/garments/{garment}/mask.jpg").status_code == 200
        kiosk.client.delete(f"/api/garments/{garment}").raise_for_status()
        assert len(frames(kiosk.client, 2)) == 2
        connect(kiosk, STREAM).close()
        kiosk.client.post("/api/retake").raise_for_status()

    def in_use() -> tuple[int, int]:
        own = [t for t in threading.enumerate() if t.name.startswith("spgvton") and t.name != "spgvton-parser"]
        return len(os.listdir("/proc/self/fd")), len(own)

    for _ in range(2):
        a_busy_day()
    wait_for(lambda: kiosk.running.viewers.sink.viewers == 0)
    descriptors, threads = in_use()
    for _ in range(8):
        a_busy_day()
    wait_for(lambda: in_use()[0] <= descriptors and in_use()[1] <= threads)


def test_nothing_is_stored_unasked(kiosk: Served) -> None:
    known = {"kiosk.yaml", "garments", "state", "recordings"}
    assert {p.name for p in kiosk.folder.iterdir()} <= known
    assert {p.name for p in (kiosk.folder / "state").iterdir()} == {"state.json", "thumbnails"}
    known = {g.key for g in kiosk.running.kiosk.catalogue.garments()}
    assert {p.stem for p in (kiosk.folder / "state" / "thumbnails").iterdir()} <= known  # garments, nobody else


def test_metrics_and_probes(kiosk: Served) -> None:
    wait_for(lambda: kiosk.client.get("/readyz").status_code == 200)
    assert kiosk.client.get("/healthz").status_code == 200
    families = {f.name: f for f in text_string_to_metric_families(kiosk.client.get("/metrics").text)}
    for name in ("fps_in", "fps_out", "frame_age_seconds", "source_ok", "dropped", "restarts", "latency_seconds",
                 "memory_bytes", "temperature_celsius", "web_viewers", "state", "frames_synthesised"):  # fmt: skip
        assert f"spgvton_{name}" in families
    assert [s.labels["reason"] for s in families["spgvton_frames_again"].samples] == ["still", "overload"]
    samples = families["spgvton_latency_seconds"].samples
    total = {s.labels["le"]: s.value for s in samples if s.labels.get("stage") == "total" and "le" in s.labels}
    assert list(total.values()) == sorted(total.values())  # cumulative
    (count,) = [s.value for s in samples if s.name.endswith("_count") and s.labels["stage"] == "total"]
    assert total["+Inf"] == count > 0
    assert sum(s.value for s in families["spgvton_state"].samples) == 1


def test_openapi_describes_every_route(kiosk: Served) -> None:
    schema = kiosk.client.get("/openapi.json").json()
    assert {"/api/status", "/api/garment", "/api/uploads", "/stream.mjpg", "/metrics", "/healthz"} <= set(
        schema["paths"]
    )
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation.get("description"), operation["operationId"]


def test_pages_need_nothing_from_elsewhere(kiosk: Served) -> None:
    for path in ("/", "/operator", "/login"):
        answer = kiosk.client.get(path)
        assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text and "https://" not in answer.text and "style=" not in answer.text
        assert "<script>" not in answer.text and "onclick" not in answer.text
        for link in [word.split('"')[1] for word in answer.text.split() if word.startswith(("src=", "href="))]:
            if link.startswith("/static/"):
                assert kiosk.client.get(link).status_code == 200


def test_opencv_knows_the_limit_too() -> None:
    """Formats whose header is not read first: the decoder itself refuses."""
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0)
    assert MAX_PICTURE_PIXELS < 30000 * 30000
    try:
        assert cv2.imdecode(np.frombuffer(header + bytes(1000), np.uint8), cv2.IMREAD_COLOR) is None
    except cv2.error as e:
        assert "CV_IO_MAX_IMAGE_PIXELS" in str(e)
