"""Take it home: a still that a customer asked for, fetched once by her own phone from this machine.

    customer says yes -> still in memory under an address that nobody can guess -> QR code -> her phone -> gone

The still is never written, listed or sent anywhere; it is dropped by its first download, after some minutes, by the privacy
switch, and with the process. How many there are at a time, how often one may be made, and how often a wrong address may be
tried are limited. Off unless kiosk.yaml says by which address phones reach this machine.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Final, NamedTuple

import segno

from spgvton.errors import SpgvtonError
from spgvton.kiosk.service.addresses import is_loopback
from spgvton.kiosk.service.config import KioskConfig
from spgvton.kiosk.service.rates import Rates

PATH: Final = "/take/"  # below it nobody needs the token: the address is the secret
MAX_BYTES: Final = 4 * 2**20  # of one still
WRONG_EVERY_S, WRONG_BURST = 30.0, 10.0  # wrong addresses, of one client


class Waiting(NamedTuple):
    """data: JPEG. language: code of what the customer speaks. until: time.monotonic() of its end."""

    data: bytes
    language: str
    until: float
    timer: threading.Timer


class Busy(SpgvtonError):
    """Too many, or too often."""


class TakeHome:
    """At most MOST stills, each for MINUTES, at ADDRESS (http://192.168.1.20:8080). Thread-safe."""

    def __init__(self, address: str, minutes: float, most: int) -> None:
        self._address, self.seconds, self._most = address.rstrip("/"), minutes * 60, most
        self._waiting: dict[str, Waiting] = {}
        self._lock = threading.Lock()
        self._epoch = 0  # times that all were dropped
        self._offers = Rates(rate=1 / 5, burst=3)
        self._wrong = Rates(rate=1 / WRONG_EVERY_S, burst=WRONG_BURST)

    @property
    def epoch(self) -> int:
        """To be read before a still is taken, and given to offer() with it."""
        return self._epoch

    def offer(self, data: bytes, language: str, epoch: int) -> str:
        """Let the JPEG DATA wait for a customer who speaks LANGUAGE. Returns its secret.

        Raises Busy; SpgvtonError where all was dropped since EPOCH.
        """
        if not self._offers.allows(""):
            raise Busy("too many pictures at once: wait a few seconds")
        if len(data) > MAX_BYTES:
            raise SpgvtonError(f"the picture has more than {MAX_BYTES >> 20} MiB")
        secret = secrets.token_urlsafe(24)
        timer = threading.Timer(self.seconds, self.drop, (secret,))
        timer.daemon = True
        with self._lock:
            if epoch != self._epoch:
                raise SpgvtonError("the mirror has been made private")
            if len(self._waiting) >= self._most:
                raise Busy(f"{self._most} pictures wait to be fetched: try again in some minutes")
            self._waiting[secret] = Waiting(data, language, time.monotonic() + self.seconds, timer)
        timer.start()
        return secret

    def url(self, secret: str) -> str:
        """Where a phone finds the still."""
        return f"{self._address}{PATH}{secret}/"

    def get(self, secret: str) -> Waiting | None:
        """The still, which waits on; None where it is gone."""
        with self._lock:
            found = self._waiting.get(secret)
        return found if found and found.until > time.monotonic() else None

    def take(self, secret: str) -> bytes | None:
        """The still, once."""
        with self._lock:
            found = self._waiting.pop(secret, None)
        if found is None:
            return None
        found.timer.cancel()
        return found.data if found.until > time.monotonic() else None

    def wrong(self, client: str) -> int:
        """Note that CLIENT asked for what is not there; how many seconds it should wait. A right address is served at any time."""
        return 0 if self._wrong.allows(client) else max(1, self._wrong.wait_s(client))

    def drop(self, secret: str) -> None:
        """Drop a still that nobody has fetched."""
        self.take(secret)

    def wipe(self) -> None:
        """Drop all of them, at once."""
        with self._lock:
            self._epoch += 1
            waiting, self._waiting = self._waiting, {}
        for found in waiting.values():
            found.timer.cancel()


def qr_rows(url: str) -> list[str]:
    """The QR code of URL as rows of 0 and 1 (dark), without its quiet zone of 4."""
    return ["".join("1" if dark else "0" for dark in row) for row in segno.make_qr(url, error="m").matrix]


def check_reachable(config: KioskConfig) -> None:
    """Raise SpgvtonError where phones cannot reach the address that take_home announces, as far as can be told."""
    address, web = config.take_home.address, config.web
    if address and is_loopback(web.host) and not web.trusted_proxies:
        raise SpgvtonError(
            f"take_home.address is {address}, but the kiosk listens on {web.host}, where no phone reaches it: "
            "set web.host: 0.0.0.0, or name the reverse proxy in web.trusted_proxies"
        )
