"""The kiosk as a process under a supervisor: killed, stopped, and giving up."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers import free_port
from kiosk_shop import make_shop, wait_for

from spgvton.cli import main

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
RESTART_CPU_S = 3.0  # of processor time until live again; wall time is less on a machine that does nothing else


class Supervisor:
    """systemd in 40 lines: starts the process, hears its notifications, starts it again when it dies."""

    def __init__(self, folder: Path, config: Path, port: int, environment: dict[str, str] | None = None) -> None:
        self._path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._socket.settimeout(90)
        self._command = [sys.executable, "-m", "spgvton", "kiosk", "run", "--config", str(config), "--port", str(port)]
        self._log, self._environment, self.config = folder / "log", environment or {}, config
        self.start()

    def start(self) -> None:
        environment = os.environ | {"NOTIFY_SOCKET": str(self._path), "PYTHONPATH": os.pathsep.join(sys.path)}
        environment |= self._environment
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=environment, stderr=log)

    def wait_for(self, word: str) -> None:
        """Until the process says WORD."""
        while word not in self._socket.recv(4096).decode().splitlines():
            assert self.process.poll() is None, self.log()

    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._socket.close()


@pytest.fixture
def shop(tmp_path: Path, tiny_bundle: Path) -> Path:
    return make_shop(tmp_path, tiny_bundle, web="{port: 0}")


@pytest.fixture
def supervisor(tmp_path: Path, shop: Path) -> Iterator[tuple[Supervisor, str]]:
    port = free_port()
    found = Supervisor(tmp_path, shop, port)
    try:
        yield found, f"http://127.0.0.1:{port}"
    finally:
        found.end()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_killed_and_live_again_with_the_same_garment(supervisor: tuple[Supervisor, str]) -> None:
    service, url = supervisor
    service.wait_for("READY=1")
    assert httpx.put(f"{url}/api/garment", json={"id": "nova"}, timeout=60).status_code == 200
    wait_for(lambda: httpx.get(f"{url}/api/status", timeout=60).json()["garment"] == "nova")
    service.process.send_signal(signal.SIGKILL)
    assert service.process.wait(30) == -signal.SIGKILL
    service.start()
    service.wait_for("READY=1")
    spent = cpu_seconds(service.process.pid)
    assert spent < RESTART_CPU_S
    assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
    assert httpx.get(f"{url}/api/status", timeout=60).json()["frames_out"] > 0
    wait_for(lambda: httpx.get(f"{url}/api/status", timeout=60).json()["garment"] == "nova")
    service.wait_for("WATCHDOG=1")
    service.process.terminate()
    service.wait_for("STOPPING=1")
    assert service.process.wait(60) == 0
    for line in service.log().splitlines():
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))


def test_a_restart_by_the_api_is_for_the_supervisor(supervisor: tuple[Supervisor, str]) -> None:
    service, url = supervisor
    service.wait_for("READY=1")
    evil = {"origin": "http://evil.example"}
    assert httpx.post(f"{url}/api/restart", headers=evil, timeout=60).status_code == 403
    assert httpx.post(f"{url}/api/restart", timeout=60).status_code == 202
    assert service.process.wait(60) == 75, service.log()
    assert "a restart was asked for" in service.log()


def test_sigterm_during_uploads_ends_quietly_and_in_time(supervisor: tuple[Supervisor, str], shirt: bytes) -> None:
    """Pictures that are half sent, and one whose garment is being cut out, hold up nobody and leave nothing."""
    service, url = supervisor
    service.wait_for("READY=1")
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    head = f"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(shirt)}\r\n\r\n".encode()
    half = [socket.create_connection(address, 30) for _ in range(3)]
    whole = socket.create_connection(address, 30)
    try:
        for sender in half:
            sender.sendall(head + shirt[: len(shirt) // 2])
        whole.sendall(head + shirt)
        service.process.terminate()
        assert service.process.wait(60) == 0, service.log()
    finally:
        for sender in (*half, whole):
            sender.close()
    lines = [json.loads(line) for line in service.log().splitlines()]  # one object a line, whatever was cut off
    assert not [line for line in lines if line["level"] in ("error", "critical") or "Traceback" in json.dumps(line)]
    folder = Path(service.config).parent
    assert sorted(p.name for p in (folder / "garments").iterdir()) == sorted(
        f"{name}{end}" for name in ("striped", "nova", "flower") for end in (".jpg", "_mask.png")
    )


def test_a_source_that_stays_away_ends_with_75(tmp_path: Path, tiny_bundle: Path) -> None:
    gone = f"rtsp://127.0.0.1:{free_port()}/gone"
    config = make_shop(tmp_path, tiny_bundle, source=gone, web="{port: 0}", watchdog="{source_s: 1}")
    service = Supervisor(tmp_path, config, 0)
    try:
        service.wait_for("READY=1")  # the page is up and says what is missing
        end = time.monotonic() + 90
        while service.process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert service.process.returncode == 75, service.log()
        assert gone in service.log()
    finally:
        service.end()


@pytest.mark.skipif(not FAKETIME, reason="no libfaketime: apt-get install libfaketime")
def test_the_wall_clock_jumps(tmp_path: Path, shop: Path) -> None:
    """What the C library tells of CLOCK_REALTIME goes back a year, then on by ten: the kiosk's logs follow, nothing else."""
    clock, port = tmp_path / "clock", free_port()
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip
    service = Supervisor(tmp_path, shop, port, environment)
    try:
        service.wait_for("READY=1")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            def status() -> dict[str, Any]:
                found: dict[str, Any] = client.get("/api/status").json()
                return found

            wait_for(lambda: status()["state"] == "live")
            pid, years = service.process.pid, []
            for jump in ("-365d", "+3650d", "+0"):
                clock.write_text(jump)
                before = status()["frames_out"]
                wait_for(lambda before=before: status()["frames_out"] > before + 10)  # type: ignore[misc]
                time.sleep(1.2)  # libfaketime looks at its file once a second
                assert client.put("/api/garment", json={"id": "nova"}).status_code == 200  # a line in the log
                wait_for(lambda: status()["state"] == "live")
                found = status()
                assert 0 <= found["frame_age_s"] < 10
                assert 0 <= found["stages_ms"]["total"]["p99"] < 60_000
                years.append(json.loads(service.log().splitlines()[-1])["time"][:4])
            assert service.process.pid == pid and service.process.poll() is None
            this = time.gmtime().tm_year
            # A busy machine may stall a camera for seconds; a clock that is believed would make it a year.
            stalls = re.findall(r"no frame for ([\d.]+) s|is back after ([\d.]+) s", service.log())
            assert all(float(a or b) < 120 for a, b in stalls), stalls
            assert len(set(years)) == 3 and int(years[1]) >= this + 9, years  # the process did see the jumps
    finally:
        service.end()


def test_what_no_restart_mends_is_one_line(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["kiosk", "run", "--config", str(shop), "--port", str(port)]) == 1
    error = capsys.readouterr().err.strip()
    assert (
        error
        == f"spgvton kiosk: cannot listen on 127.0.0.1:{port}: Address already in use; choose another web.port or web.host"
    )
    assert main(["kiosk", "run", "--config", str(shop), "--port", "-1"]) == 2
