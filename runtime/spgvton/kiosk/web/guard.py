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
import logging
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spgvton.kiosk.service.addresses import is_address
from spgvton.kiosk.service.rates import Rates

log = logging.getLogger(__name__)

COOKIE: Final = "spgvton"
CONNECTION: Final = "spgvton.connection"  # of a scope: (address, port) of the proxy that sent the request
SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
OPEN_PATHS: Final = frozenset(("/healthz", "/readyz", "/login", "/api/login", "/privacy"))
OPEN_FOLDERS: Final = ("/static/", "/take/")  # what is below /take/ has secret names
UPLOADS: Final = ("/api/uploads", "/api/review")  # where pictures are sent to
MAX_JSON: Final = 4096  # bytes of any other body
PATIENCE: Final = 8  # times the limit is read, and thrown away, before a body is cut off
BODY_S: Final = 30.0  # for a whole body
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


def wrong_token(failures: Rates, address: str) -> int:
    """Note that ADDRESS gave a wrong token, in the log too; how many seconds it should wait, 0 where it may try again.

    A right token is taken at any time: nobody can lock it out for others behind the same address. It has too many bits to
    be guessed at the rate at which requests are served.
    """
    if failures.allows(address):
        log.warning("wrong token", extra={"address": address})
        return 0
    return max(1, failures.wait_s(address))


def too_many(wait: int) -> str:
    """What an address is told that gave wrong tokens."""
    return f"too many wrong tokens: the next one is looked at in {wait} s (a right one at once)"


class Proxies:
    """The reverse proxies whose word counts on where a request comes from: addresses, or networks such as 10.0.0.0/8."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether ADDRESS is one of them."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def client(self, peer: str, forwarded: str) -> str:
        """Whose request it is that PEER sent with FORWARDED as X-Forwarded-For: the last address that no proxy of ours has.

        What stands further left was written by whoever asked, and proves nothing.
        """
        address = peer
        for part in reversed(forwarded.split(",")):
            if not self.trusts(address) or not is_address(part.strip()):
                break
            address = part.strip()
        return address


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
        upload_bytes: int, proxies: Proxies | None = None,
    ) -> None:  # fmt: skip
        self._proxies = proxies or Proxies()
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

        scope = self._with_client(scope)
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

    def _with_client(self, scope: Scope) -> Scope:
        """SCOPE with the client that our proxy names; CONNECTION keeps whose connection it is."""
        client = scope.get("client")
        if not client or not self._proxies.trusts(client[0]):
            return scope
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        address = self._proxies.client(client[0], ",".join(forwarded))
        return {**scope, "client": (address, client[1]), CONNECTION: tuple(client)}

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
        if self._token is None or scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDERS):
            return None
        return self._without_token(self._token, address, scope["method"], headers)

    def _without_token(
        self, token: Token, address: str, method: str, headers: dict[str, str]
    ) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and given:
            if token.is_secret(given.strip()):
                return None
            wait = wrong_token(self._failures, address)
            if wait:
                return 429, too_many(wait), [(b"retry-after", b"%d" % wait)]
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
        return name is not None and (name in self._hosts or is_address(name))


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
