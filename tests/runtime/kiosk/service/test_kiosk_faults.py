"""Faults of the camera, injected while a whole kiosk runs: it goes on, and its metrics, probes and log say so."""

from __future__ import annotations

import http.server
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import uvicorn
from kiosk_shop import Served, serve, wait_for
from prometheus_client.parser import text_string_to_metric_families
from test_supervised import RtspServer

from spgvton.kiosk.service import supervisor


def metric(served: Served, name: str) -> float:
    text = served.client.get("/metrics").text
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return next(s.value for s in samples if s.name == f"spgvton_{name}")


@pytest.fixture
def rtsp() -> Iterator[RtspServer]:
    server = RtspServer()
    yield server
    server.kill()


def test_a_camera_that_dies_and_comes_back(
    rtsp: RtspServer, tmp_path: Path, tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(tmp_path, tiny_bundle, source=rtsp.url) as kiosk:
        wait_for(lambda: kiosk.client.get("/readyz").status_code == 200)
        assert (metric(kiosk, "source_ok"), metric(kiosk, "restarts_total")) == (1, 0)
        rtsp.kill()
        wait_for(lambda: metric(kiosk, "source_ok") == 0)
        wait_for(lambda: kiosk.client.get("/readyz").status_code == 503)
        assert kiosk.client.get("/healthz").status_code == 200  # no new start would help
        assert rtsp.url in kiosk.status()["last_error"]
        wait_for(lambda: metric(kiosk, "frame_age_seconds") > 1)
        before = metric(kiosk, "frames_in_total")
        rtsp.start()
        wait_for(lambda: kiosk.client.get("/readyz").status_code == 200)
        wait_for(lambda: metric(kiosk, "frames_in_total") > before + 5)
        assert metric(kiosk, "source_ok") == 1 and metric(kiosk, "restarts_total") >= 1
    words = [r.getMessage() for r in caplog.records]
    assert any("opening it again" in w for w in words) and any("is back after" in w for w in words)


class Camera(http.server.BaseHTTPRequestHandler):
    """Motion JPEG without end, as bright and as large as the test wants it."""

    level = 200
    size = (96, 64)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for _ in itertools.count():
                data = cv2.imencode(".jpg", np.full((*Camera.size, 3), Camera.level, np.uint8))[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Length: %d\r\n\r\n" % len(data) + data + b"\r\n")
                time.sleep(0.03)
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


def test_black_frames_and_another_resolution(
    tmp_path: Path, tiny_bundle: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with serve(tmp_path, tiny_bundle, source=f"http://127.0.0.1:{server.server_port}/live") as kiosk:
            assert metric(kiosk, "dark") == 0
            monkeypatch.setattr(Camera, "level", 0)
            wait_for(lambda: metric(kiosk, "dark") == 1)
            assert kiosk.status()["hint"] == "the camera sees nothing"
            monkeypatch.setattr(Camera, "level", 200)
            monkeypatch.setattr(Camera, "size", (128, 256))
            wait_for(lambda: metric(kiosk, "dark") == 0)
            before = metric(kiosk, "frames_out_total")
            wait_for(lambda: metric(kiosk, "frames_out_total") > before + 5)
            assert metric(kiosk, "restarts_total") == 0
        server.shutdown()
    words = [r.getMessage() for r in caplog.records]
    assert words.count("the camera sees nothing") == words.count("the camera sees again") == 1


def test_on_every_address_a_token_is_made_and_needed(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(tmp_path, tiny_bundle, web="{host: 0.0.0.0, port: 0}") as kiosk:
        secret = (tmp_path / "state/token").read_text().strip()
        said = capsys.readouterr().err
        assert secret not in said and "state/token" in said  # a journal has more readers than the file
        for path in ("/api/status", "/stream.mjpg", "/metrics", "/openapi.json", "/api/frame.jpg"):
            assert kiosk.client.get(path).status_code == 401, path
        assert kiosk.client.put("/api/privacy", json={"on": True}).status_code == 401
        found = httpx.get(f"{kiosk.running.url}api/status", headers={"authorization": f"Bearer {secret}"}, timeout=60)
        assert found.status_code == 200 and not found.json()["privacy"]


def test_a_web_server_that_ends_is_a_reason_to_start_again(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(supervisor, "exit_soon", codes.append)
    broken = threading.Event()
    real = uvicorn.Server.on_tick

    async def on_tick(self: uvicorn.Server, counter: int) -> bool:
        if broken.is_set():
            raise RuntimeError("a bug in the server")
        return await real(self, counter)

    monkeypatch.setattr(uvicorn.Server, "on_tick", on_tick)
    with serve(tmp_path, tiny_bundle) as kiosk:
        broken.set()
        wait_for(kiosk.running.gave_up.is_set)
        assert kiosk.stop.is_set() and codes == [75]
    monkeypatch.undo()
    with serve(tmp_path / "again", tiny_bundle) as kiosk:  # one that is told to end is none
        pass
    assert not kiosk.running.gave_up.is_set()


def test_a_garment_that_is_deleted_while_it_is_worn_stays_on(tmp_path: Path, tiny_bundle: Path) -> None:
    with serve(tmp_path, tiny_bundle) as kiosk:
        kiosk.client.put("/api/garment", json={"id": "nova"}).raise_for_status()
        kiosk.client.delete("/api/garments/nova").raise_for_status()
        before = kiosk.status()["answers"]
        wait_for(lambda: kiosk.status()["answers"] > before + 1)
        status = kiosk.status()
        assert (status["mode"], status["garment"], status["hint"], status["restarts"]) == ("live", "nova", "", 0)
        kiosk.client.put("/api/garment", json={"id": "flower"}).raise_for_status()
