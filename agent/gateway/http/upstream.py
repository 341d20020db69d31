"""Connections to the dev server, and the few that are kept for the next request.

Node closes a kept connection after five quiet seconds without asking; one is used again only well before that. It
may still close at the very moment a request is on its way, so only a request that may be sent twice gets a used one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.errors import AgentError
from agent.gateway.http.transport import Wire

DEV_HOST = "127.0.0.1"
CONNECT_SECONDS = 2.0
KEPT_SECONDS = 3.0
KEPT_MOST = 32


class NotThere(AgentError):
    """The dev server does not take connections."""

    code = "dev_server_not_there"
    retryable = True


class Link:
    """One connection, for one request. Whoever has it sets `clean` when the next request may use it."""

    def __init__(self, wire: Wire, *, used: bool) -> None:
        self.wire = wire
        self.used = used
        self.clean = False


class Upstream:
    def __init__(self, port: int, monotonic: Callable[[], float]) -> None:
        self._port = port
        self._monotonic = monotonic
        self.last_exchange = monotonic()
        """When something last went to the dev server, or came from it."""
        self._kept: dict[Wire, asyncio.TimerHandle] = {}
        self._closed = False

    @asynccontextmanager
    async def link(self, *, used: bool) -> AsyncIterator[Link]:
        """A connection for as long as the block runs; raises NotThere. `used`: an old one will do."""
        self._exchanged()
        kept = self._again() if used else None
        link = Link(kept or await self._connect(), used=kept is not None)
        try:
            yield link
        finally:
            if link.clean and not self._closed:
                self._keep(link.wire)
            elif not link.wire.transport.is_closing():  # whoever closed it before wanted its last bytes to leave
                link.wire.abort()

    def close(self) -> None:
        """Close what is kept, and keep nothing from now on."""
        self._closed = True
        self.redial()

    def redial(self) -> None:
        """Close what is kept, so that the next request connects anew."""
        for wire in tuple(self._kept):
            self._drop(wire)

    async def _connect(self) -> Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, wire = await loop.create_connection(Wire, DEV_HOST, self._port)
        except OSError as error:  # a TimeoutError is one too
            raise NotThere(f"nothing answers at {DEV_HOST}:{self._port}: {error}") from error
        wire.on_data = self._exchanged
        return wire

    def _exchanged(self) -> None:
        self.last_exchange = self._monotonic()

    def _again(self) -> Wire | None:
        while self._kept:
            wire, timer = self._kept.popitem()  # the newest: the others get the chance to grow old and go
            timer.cancel()
            wire.on_end = None
            if not wire.ended and not wire.buffer:
                return wire
            wire.abort()
        return None

    def _keep(self, wire: Wire) -> None:
        if wire.ended or wire.buffer or len(self._kept) >= KEPT_MOST:
            wire.abort()
            return
        loop = asyncio.get_running_loop()
        self._kept[wire] = loop.call_later(KEPT_SECONDS, self._drop, wire)
        wire.on_end = lambda: self._drop(wire)

    def _drop(self, wire: Wire) -> None:
        timer = self._kept.pop(wire, None)
        if timer is not None:
            timer.cancel()
        wire.on_end = None
        wire.abort()
