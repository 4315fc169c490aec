"""Logs that nothing can forge, limits behind a proxy, a process that is stopped and goes on, one kiosk for each state."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from kiosk_shop import Served, serve, wait_for

from spgvton.errors import SpgvtonError
from spgvton.kiosk.service import logs, supervisor
from spgvton.kiosk.service.state import only_one
from spgvton.kiosk.web.connections import Connections
from spgvton.kiosk.web.guard import Proxies
from spgvton.stream import supervised
from spgvton.stream.frames import Frame, Source
from spgvton.stream.supervised import SupervisedSource

PRINTING = """
import ctypes, logging, os, sys
from spgvton.kiosk.service import logs
with logs.captured_stderr():
    os.write(2, b'{"time": "forged", "level": "info", "logger": "spgvton", "message": "all is well"}\\n')
    ctypes.CDLL(None).dprintf(2, b"libpng warning: %s\\n", b"\\xff\\x00 a name \\xe9")
    print("printed by Python", file=sys.stderr)
    logging.getLogger("spgvton").info("a line\\nof two \\udce9", extra={"path": "caf\\udce9"})
    os.write(2, b"no end of line")
print("after", file=sys.stderr)
"""


def test_whatever_is_printed_is_one_json_object_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTING], stderr=subprocess.PIPE, check=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    *lines, last = done.stderr.decode().splitlines()
    assert last == "after"
    found = [json.loads(line) for line in lines]
    assert {"spgvton", "stderr"} == {line["logger"] for line in found}
    by_library = [line["message"] for line in found if line["logger"] == "stderr"]
    assert by_library[0].startswith('{"time": "forged"') and "libpng warning" in by_library[1]
    assert by_library[2:] == ["printed by Python", "no end of line"]
    assert not any(line["time"] == "forged" for line in found)


def test_an_upload_that_breaks_off_is_one_quiet_line(kiosk: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for length in (100, 500_000):
        with socket.create_connection(kiosk.address) as client:
            head = f"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length + 10}\r\n\r\n"
            client.sendall(head.encode() + b"x" * length)
            time.sleep(0.2)
    wait_for(lambda: len([r for r in caplog.records if r.getMessage() == "a request was cut off"]) == 2)
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


def test_no_descriptors_left_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A real EMFILE, many times over, as asyncio reports it for each connection."""
    quiet, told = logs.Quiet(), []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for _ in range(20):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            os.open("/dev/null", os.O_RDONLY)
        except OSError as e:
            error = e
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert error.errno == errno.EMFILE
        record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "socket.accept()", (), (OSError, error, None))
        if quiet.filter(record):
            told.append(record)
    assert len(told) == 1 and told[0].exc_info is None and "LimitNOFILE" in told[0].getMessage()


# ------------------------------------------------------------------ behind a proxy
def test_the_client_is_whom_our_own_proxy_names() -> None:
    proxies = Proxies(("10.0.0.0/8", "::1"))
    assert proxies.client("192.168.0.9", "1.2.3.4") == "192.168.0.9"  # anybody can write a header
    assert proxies.client("10.0.0.1", "1.2.3.4") == "1.2.3.4"
    assert proxies.client("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2") == "1.2.3.4"
    assert proxies.client("::1", "fe80::5") == "fe80::5"
    for nonsense in ("", "unknown", "1.2.3.4:99", ",,", "<script>"):
        assert proxies.client("10.0.0.1", nonsense) == "10.0.0.1"
    assert not Proxies() and not Proxies().trusts("127.0.0.1")


def test_connections_of_a_proxy_are_not_one_clients() -> None:
    class Transport:
        pass

    connections = Connections(2, shared=Proxies(("10.0.0.1",)).trusts)
    assert all(connections.add(("10.0.0.1", port), Transport()) for port in range(20))  # type: ignore[arg-type]
    assert [connections.add(("10.0.0.2", port), Transport()) for port in range(3)] == [True, True, False]  # type: ignore[arg-type]


def test_behind_a_proxy_one_client_locks_out_no_other(tmp_path: Path, tiny_bundle: Path) -> None:
    web = "{port: 0, trusted_proxies: [127.0.0.1], viewers_per_address: 1}"
    with serve(tmp_path, tiny_bundle, web=web) as kiosk:
        url = f"{kiosk.running.url}api/status"
        assert httpx.get(url, timeout=60).status_code == 401  # whoever comes through a proxy may come from anywhere

        def ask(address: str, token: str) -> int:
            headers = {"x-forwarded-for": f"8.8.8.8, {address}", "authorization": f"Bearer {token}"}
            return httpx.get(url, headers=headers, timeout=60).status_code

        assert [ask("1.2.3.4", "wrong") for _ in range(7)][-1] == 429
        assert ask("1.2.3.5", "wrong") == 401
        secret = (tmp_path / "state" / "token").read_text().strip()
        assert ask("1.2.3.4", secret) == 200
        headers = {"authorization": f"Bearer {secret}"}
        views = []
        try:
            for address in ("1.1.1.1", "1.1.1.2", "1.1.1.1"):
                view = socket.create_connection(kiosk.address)
                request = f"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n"
                view.sendall((request + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode())
                views.append((view, view.recv(12)))
        finally:
            for view, _ in views:
                view.close()
        assert [answer for _, answer in views] == [b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 503"]


# ------------------------------------------------------------------ stopped, and going on
def test_a_stopped_process_does_not_trip_its_watchdog() -> None:
    """SIGSTOP for longer than stall_s, but too short for the log, SIGCONT, and nobody gives up; a real stall is still seen."""
    program = """
import sys, time, threading
from spgvton.kiosk.service import supervisor
class Told:
    frames_out, source_ok, state, fps_out, source = 5, True, "live", 15.0, "cam"
told = Told()
def progress():
    while not stalled.wait(0.1):
        told.frames_out += 1
stalled = threading.Event()
threading.Thread(target=progress, daemon=True).start()
dog = supervisor.Watchdog(lambda: told, lambda why: print("gave up", flush=True), start_s=60, stall_s=2)
dog.start()
print("running", flush=True)
for line in sys.stdin:
    if line.strip() == "stall":
        stalled.set()
    else:
        print("alive" if dog.health().alive else "dead", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "running\n"
        time.sleep(1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        process.send_signal(signal.SIGCONT)
        time.sleep(1.2)
        process.stdin.write("health\n")
        assert process.stdout.readline() == "alive\n"
        process.stdin.write("stall\n")
        assert process.stdout.readline() == "gave up\n"
        process.kill()


class Once(Source):
    """One frame, then nothing until it is closed."""

    name, fps, live, size = "cam", 30.0, True, (16, 16)

    def __init__(self) -> None:
        self._given, self._closed = False, threading.Event()

    def read(self) -> Frame | None:
        import numpy as np

        if self._given:
            self._closed.wait()
            return None
        self._given = True
        now = time.monotonic()
        return Frame(np.zeros((16, 16, 3), np.uint8), 0, now, now)

    def close(self) -> None:
        self._closed.set()


def test_time_in_which_the_process_was_stopped_is_not_the_sources_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "STALL_S", 0.2)
    monkeypatch.setattr(supervised, "STOPPED_S", 0.2)
    source = SupervisedSource(Once, "cam", patience_s=3.0)
    assert source.read() is not None
    connection = source._current
    assert connection is not None
    real = connection.slot.get

    def stopped(timeout: float | None = None) -> Frame | None:
        time.sleep(5)  # as a SIGSTOP in this very wait
        return real(0.01)

    monkeypatch.setattr(connection.slot, "get", stopped)
    assert source.read() is not None  # reconnected, and not given up: nobody was away for 5 s
    assert source.restarts == 1
    source.close()


# ------------------------------------------------------------------ one kiosk
def test_one_kiosk_for_each_state_folder(tmp_path: Path) -> None:
    hold = f"""
import sys
from pathlib import Path
from spgvton.kiosk.service.state import only_one
with only_one(Path({str(tmp_path)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:  # fmt: skip
        assert other.stdout and other.stdout.readline() == "held\n"
        with pytest.raises(SpgvtonError, match="another kiosk uses"), only_one(tmp_path):
            pass
        with only_one(tmp_path / "other"):
            pass
        other.kill()
    with only_one(tmp_path):  # a killed one leaves no lock behind
        pass
    assert not list(tmp_path.glob("*lock*"))


def test_two_kiosks_on_one_state_are_refused(kiosk: Served, tiny_bundle: Path) -> None:
    from spgvton.kiosk.service import config
    from spgvton.kiosk.web.server import started

    settings = config.load(kiosk.folder / "kiosk.yaml")
    with pytest.raises(SpgvtonError, match="another kiosk uses"), started(settings, threading.Event()):
        pass
    assert kiosk.client.get("/healthz").status_code == 200
    assert supervisor.STOPPED_S > supervisor.POLL_S
