"""Endless answers, one task per viewer: the live view as a multipart of JPEGs, moments as server-sent events."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any, ClassVar, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from spgvton.kiosk.service.broadcast import Broadcast
from spgvton.kiosk.web.connections import Connections
from spgvton.kiosk.web.guard import CONNECTION

BOUNDARY: Final = b"spgvton-frame"
SEND_S: Final = 10.0  # a viewer that takes nothing for so long is dropped
SIGN_S: Final = 15.0  # without news a sign of life shows whether the viewer is still there


class Viewers:
    """Who may look, and how often: at most `total`, `per_address`, and `fps` frames a second for each."""

    def __init__(self, sink: Broadcast, connections: Connections, *, total: int, per_address: int, fps: float) -> None:
        self.sink, self.connections = sink, connections
        self.total, self.per_address, self.interval_s = total, per_address, 1 / fps
        self.dropped_slow = 0
        self._by_address: Counter[str] = Counter()

    def refusal(self, address: str) -> str | None:
        """Why one more viewer from ADDRESS cannot be served, or None."""
        if self._by_address.total() >= self.total:
            return f"the mirror already has {self.total} viewers (web.viewers)"
        if self._by_address[address] >= self.per_address:
            return f"{address} already has {self.per_address} views (web.viewers_per_address)"
        return None

    def enter(self, address: str) -> None:
        self._by_address[address] += 1

    def leave(self, address: str) -> None:
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class EndlessResponse(Response):
    """An answer for one viewer that was let in: what its sink holds, each time it is new. kind: its content type."""

    kind: ClassVar[bytes]
    start: ClassVar[bytes] = b""
    sign: ClassVar[bytes] = b""  # of life, where the kind has one

    @staticmethod
    def part(data: bytes) -> bytes:
        """DATA as one part of the answer."""
        raise NotImplementedError

    def __init__(self, viewers: Viewers) -> None:
        super().__init__()
        self._viewers = viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        viewers, client = self._viewers, scope["client"]
        viewers.enter(client[0])
        gone = asyncio.ensure_future(_gone(receive))
        try:
            with viewers.sink.watching():
                await self._stream(send, gone)
        except asyncio.TimeoutError:
            viewers.dropped_slow += 1
            viewers.connections.abort(
                scope.get(CONNECTION, client)
            )  # closing would wait for ever for what it does not read
            await asyncio.sleep(0)  # lets uvicorn see that it is gone
        finally:
            viewers.leave(client[0])
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    async def _stream(self, send: Send, gone: asyncio.Future[None]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", self.kind)]})
        await self._send(send, self.start)
        clock = asyncio.get_running_loop().time
        number, due = 0, 0.0
        while True:
            if due > clock():
                await asyncio.sleep(due - clock())
            coming = asyncio.ensure_future(self._viewers.sink.after(number))
            both: list[asyncio.Future[Any]] = [coming, gone]
            try:
                done, _ = await asyncio.wait(both, timeout=SIGN_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()  # does nothing to one that is done
            if gone.done():
                return
            if not done:
                await self._send(send, self.sign)
                continue
            news = coming.result()
            if news is None:
                break
            number, due = news.number, clock() + self._viewers.interval_s
            await self._send(send, self.part(news.data))
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    async def _send(send: Send, body: bytes) -> None:
        if body:
            message = {"type": "http.response.body", "body": body, "more_body": True}
            await asyncio.wait_for(send(message), SEND_S)


class MjpegResponse(EndlessResponse):
    """`multipart/x-mixed-replace` of JPEGs."""

    kind = b"multipart/x-mixed-replace; boundary=" + BOUNDARY
    start = b"--" + BOUNDARY + b"\r\n"

    @staticmethod
    def part(data: bytes) -> bytes:
        head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
        # The boundary follows at once: browsers show a part when they have seen where it ends.
        return head + data + b"\r\n--" + BOUNDARY + b"\r\n"


class EventsResponse(EndlessResponse):
    """`text/event-stream` of JSON."""

    kind = b"text/event-stream"
    start = sign = b":\n\n"

    @staticmethod
    def part(data: bytes) -> bytes:
        return b"data: " + data + b"\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
