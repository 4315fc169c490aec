"""Limits below HTTP: how many connections there may be, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

TOTAL: Final = 1500
HEAD_S: Final = 10.0  # for a request's first line and headers

Client = tuple[str, int]


class Connections:
    """The open connections of a server, by client (address, port). Used on the server's asyncio loop.

    shared: whether an address stands for many clients (a reverse proxy): then only TOTAL limits it.
    """

    def __init__(
        self, per_address: int, total: int = TOTAL, shared: Callable[[str], bool] = lambda address: False
    ) -> None:
        self.total, self.per_address = total, per_address
        self.refused = 0
        self._shared = shared
        self._transports: dict[Client, asyncio.Transport] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._transports)

    def add(self, client: Client, transport: asyncio.Transport) -> bool:
        """False when there is no room for this one."""
        if len(self) >= self.total or (self._by_address[client[0]] >= self.per_address and not self._shared(client[0])):
            self.refused += 1
            return False
        self._transports[client] = transport
        self._by_address[client[0]] += 1
        return True

    def remove(self, client: Client) -> None:
        if self._transports.pop(client, None):
            self._by_address[client[0]] -= 1
            if not self._by_address[client[0]]:
                del self._by_address[client[0]]

    def abort(self, client: Client) -> None:
        """Close without sending what is still buffered."""
        transport = self._transports.get((client[0], client[1]))  # ASGI's scope may hold a list
        if transport:
            transport.abort()


def protocol(connections: Connections) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol with these limits."""

    class Limited(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            client = get_remote_addr(transport)
            if client is None or not connections.add(client, transport):
                transport.abort()
                return
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop_waiting()
            elif self._late is None:
                self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            if self.client is not None:
                connections.remove(self.client)
                super().connection_lost(exc)

        def _wait_for_head(self) -> None:
            self._late = self.loop.call_later(HEAD_S, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._late:
                self._late.cancel()
                self._late = None

    return Limited
