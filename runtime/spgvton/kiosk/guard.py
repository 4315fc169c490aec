"""What every request passes first: rate limit, Host, Origin, token; and the headers that every answer carries.

Host: a page of evil.example that resolves to this machine (DNS rebinding) sends its own name; only addresses, localhost and
the configured names are served. Origin and Sec-Fetch-Site: other sites can neither press buttons here (CSRF) nor embed the
picture. Token: a header (Bearer) for programs, a cookie for browsers, compared in constant time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import time
from collections import OrderedDict
from typing import Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "spgvton"
SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
OPEN_PATHS: Final = frozenset(("/healthz", "/readyz", "/login", "/api/login"))
OPEN_FOLDER: Final = "/static/"
UPLOADS: Final = "/api/uploads"
MAX_JSON: Final = 4096  # bytes of any other body
PATIENCE: Final = 8  # times the limit is read, and thrown away, before a body is cut off
BODY_S: Final = 30.0  # for a whole body
ADDRESSES: Final = 1024  # whose rates are remembered
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Rates:
    """A token bucket per key: RATE a second, at most BURST at once. Memory is bounded; the longest unseen key goes."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def _tokens(self, key: str, now: float) -> float:
        tokens, then = self._buckets.get(key, (self.burst, now))
        return min(self.burst, tokens + (now - then) * self.rate)

    def allows(self, key: str) -> bool:
        """Take one of KEY's tokens; False when there is none."""
        now = time.monotonic()
        tokens = self._tokens(key, now)
        self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return tokens >= 1

    def spent(self, key: str) -> bool:
        """Whether KEY has no token left; takes none."""
        return self._tokens(key, time.monotonic()) < 1


class Token:
    """The secret that lets a client in. The browser's cookie is derived from it, so it is not stored there."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.cookie = hmac.new(self._secret, b"spgvton cookie", hashlib.sha256).hexdigest()

    def is_secret(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._secret)

    def is_cookie(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.cookie.encode())


class Guard:
    """ASGI middleware. token None: nobody needs one. hosts: names, beside addresses and localhost, that are served."""

    def __init__(
        self, app: ASGIApp, *, token: Token | None, hosts: tuple[str, ...], rates: Rates, failures: Rates,
        upload_bytes: int,
    ) -> None:  # fmt: skip
        self._app, self._token, self._rates, self._failures = app, token, rates, failures
        self._upload_bytes = upload_bytes
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                extra = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in given]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            limit = self._upload_bytes if scope["path"].startswith(UPLOADS) else MAX_JSON
            await self._app(scope, _bounded(receive, limit), with_headers)
            return
        status, words, headers = refusal
        body = json.dumps({"detail": words}).encode()
        start = [
            *headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),  # what is left of the request is not read
        ]
        await with_headers({"type": "http.response.start", "status": status, "headers": start})
        await with_headers({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _refusal(self, scope: Scope) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Status, words and headers of the answer to a request that goes no further."""
        address = scope["client"][0] if scope.get("client") else ""
        if not self._rates.allows(address):
            return 429, "too many requests: wait a second", [(b"retry-after", b"1")]
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1")
            if key in ("host", "origin") and key in headers:
                return 400, f"two {key} headers", []
            headers[key] = value.decode("latin-1")
        host = headers.get("host", "")
        if not self._serves(host):
            return 421, f"{host[:80]!r} is not a name of this kiosk: add it to web.allowed_hosts", []
        if _crosses_sites(scope["method"], headers, host):
            return 403, "requests from other sites are refused", []
        if self._token is None or scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDER):
            return None
        return self._without_token(self._token, address, scope["method"], headers)

    def _without_token(
        self, token: Token, address: str, method: str, headers: dict[str, str]
    ) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and given:
            if self._failures.spent(address):
                return 429, "too many wrong tokens: wait a minute", [(b"retry-after", b"60")]
            if token.is_secret(given.strip()):
                return None
            self._failures.allows(address)
            return 401, "wrong token", [(b"www-authenticate", b"Bearer")]
        if token.is_cookie(_cookie(headers.get("cookie", ""))):
            return None
        if method == "GET" and "text/html" in headers.get("accept", ""):
            return 303, "log in first", [(b"location", b"/login")]
        return (
            401,
            "a token is needed: Authorization: Bearer TOKEN, or log in at /login",
            [(b"www-authenticate", b"Bearer")],
        )

    def _serves(self, host: str) -> bool:
        name = _host_name(host)
        return name is not None and (name in self._hosts or _is_address(name))


def _bounded(receive: Receive, limit: int) -> Receive:
    """RECEIVE for a body of at most LIMIT bytes in 30 s; otherwise raises HTTPException, and the connection ends."""
    clock = asyncio.get_running_loop().time
    size, end, complete = 0, clock() + BODY_S, False
    close = {"connection": "close"}

    async def bounded() -> Message:
        nonlocal size, complete
        if complete:
            return await receive()  # waits for the client to go away
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - clock()))
            except asyncio.TimeoutError as e:
                raise HTTPException(408, f"the body did not arrive within {BODY_S:.0f} s", close) from e
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size <= limit:
                return message
            # An honest client is still sending, and hears nothing while it does: the rest is thrown away first.
            if complete or size > PATIENCE * limit:
                raise HTTPException(413, f"the body has more than {limit} bytes", close)

    return bounded


def _host_name(host: str) -> str | None:
    """The name or address in a Host header, lower case; None where it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
        _ = parts.port  # raises ValueError where it is none
        return parts.hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server bound to HOST can be reached from this machine only."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _crosses_sites(method: str, headers: dict[str, str], host: str) -> bool:
    """Whether another site's page made the browser send this. A link to a page here is fine."""
    navigation = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    navigation = navigation and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigation:
        return True
    origin = headers.get("origin")
    if method in SAFE_METHODS or origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:  # "http://[": no browser sends it
        return True


def _cookie(header: str) -> str:
    """Our cookie's value, or nothing. Cookies of other services on this host may stand beside it, in any form."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
