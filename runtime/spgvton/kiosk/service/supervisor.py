"""Talking to systemd (or anything that speaks its protocol), and giving up when only a new start can help.

The watchdog tells the supervisor that all is well as long as pictures come out, or the source is known to be away and is
being reconnected. When neither holds it ends the process with exit code 75 (EX_TEMPFAIL), and the supervisor starts it
again; a process that hangs altogether stops telling, which systemd notices itself (WatchdogSec).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

log = logging.getLogger(__name__)

POLL_S: Final = 0.5
LAST_WORDS_S: Final = 5.0
STOPPED_S: Final = 5.0  # between two looks, from which on the log says so


def notify(**fields: str) -> bool:
    """sd_notify(3): send FIELDS (READY="1", STATUS="...") to $NOTIFY_SOCKET. False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract name space
    message = "\n".join(f"{name}={value}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(1)  # a supervisor that does not listen must not stop the watchdog
            sender.connect(address)
            sender.sendall(message.encode())
    except OSError as e:
        log.warning("supervisor cannot be told", extra={"error": str(e)})
        return False
    return True


@dataclass(frozen=True)
class Health:
    """alive: no new start is needed. ready: pictures come out. words: for people."""

    alive: bool
    ready: bool
    words: str


class Progress(Protocol):
    """What the watchdog looks at, of MirrorStatus."""

    @property
    def state(self) -> str: ...
    @property
    def frames_out(self) -> int: ...
    @property
    def fps_out(self) -> float: ...
    @property
    def source(self) -> str: ...
    @property
    def source_ok(self) -> bool: ...


class Watchdog:
    """Watches STATUS from its own thread. give_up: called once, with the reason, when only a new start can help.

    start_s: until the first picture; stall_s: without a picture although the source delivers. How long the source may be
    away is the mirror's own business.
    """

    def __init__(
        self,
        status: Callable[[], Progress],
        give_up: Callable[[str], None],
        *,
        start_s: float,
        stall_s: float,
    ) -> None:
        self._status, self._give_up = status, give_up
        self._start_s, self._stall_s = start_s, stall_s
        self._closing = threading.Event()
        self._ready_sent = False
        self._frames = 0
        self._progress = time.monotonic()
        self._health = Health(True, False, "starting")
        self._thread = threading.Thread(target=self._run, name="spgvton-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2)

    def health(self) -> Health:
        return self._health

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._closing.wait(POLL_S):
            looked, passed = time.monotonic(), time.monotonic() - looked
            if passed > STOPPED_S:  # we were stopped (SIGSTOP, suspend, a debugger): nobody can have made progress
                log.warning("the process was stopped for %.0f s", passed)
            self._progress += max(0.0, passed - POLL_S)  # also of a shorter stop, which stall_s may be shorter than
            try:
                status = self._status()
            except Exception as e:  # the mirror is in pieces; nothing else would notice
                log.exception("no status")
                self._health = Health(False, False, f"no status: {e}")
                self._give_up(self._health.words)
                return
            self._health = health = self.judge(status, time.monotonic())
            if not health.alive:
                notify(STATUS=health.words)
                self._give_up(health.words)
                return
            fields = {"STATUS": health.words, "WATCHDOG": "1"}
            if not self._ready_sent and (health.ready or not status.source_ok):
                fields["READY"] = "1"  # without its camera the kiosk is up too: its page says what is missing
                self._ready_sent = True
                log.info("ready", extra={"source": status.source, "source_ok": status.source_ok})
            notify(**fields)

    def judge(self, status: Progress, now: float) -> Health:
        """Health at time NOW (monotonic seconds)."""
        if status.frames_out != self._frames:
            self._frames, self._progress = status.frames_out, now
        if not status.source_ok:
            self._progress = now
            return Health(True, False, f"waiting for {status.source}")
        quiet = now - self._progress
        limit = self._stall_s if self._frames else self._start_s
        if quiet > limit:
            return Health(False, False, f"no picture for {quiet:.0f} s although {status.source} delivers")
        if not self._frames:
            return Health(True, False, "starting")
        return Health(True, quiet < 2, f"{status.state}, {status.fps_out:.1f} frames/s")


def exit_soon(code: int) -> None:
    """End the process with CODE in a few seconds, whatever its threads do; meanwhile it may end by itself."""

    def end() -> None:
        log.critical("did not stop by itself", extra={"exit_code": code})
        os._exit(code)

    timer = threading.Timer(LAST_WORDS_S, end)
    timer.daemon = True
    timer.start()
