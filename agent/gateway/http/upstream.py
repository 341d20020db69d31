"""Connections to the dev server: new ones, and a pool of idle ones for reuse.

Node closes an idle connection after five seconds without notice, so one is reused only well before that. It may still
close at the very moment a request is sent, so only a request that may be sent twice gets a reused connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.errors import AgentError
from agent.gateway.http.transport import Transport

DEV_HOST = "127.0.0.1"
CONNECT_SECONDS = 2.0
IDLE_SECONDS = 3.0
IDLE_MOST = 32


class UpstreamUnreachable(AgentError):
    """The dev server accepts no connection."""

    code = "dev_server_not_there"


class UpstreamConnection:
    """A connection for one request."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.reusable = False
        """Set by the caller when the next request may use the connection."""


class Upstream:
    def __init__(self, port: int, monotonic: Callable[[], float]) -> None:
        self._port = port
        self._monotonic = monotonic
        self.last_exchange = monotonic()
        """When bytes last went to the dev server or came from it, by the monotonic clock."""
        self._idle: dict[Transport, asyncio.TimerHandle] = {}
        self._closed = False

    @asynccontextmanager
    async def connection(self, *, reuse: bool) -> AsyncIterator[UpstreamConnection]:
        """A connection for the duration of the block; `reuse`: an idle one may be taken. Raises UpstreamUnreachable."""
        self._note_exchange()
        idle = self._pop_idle() if reuse else None
        connection = UpstreamConnection(idle or await self._connect())
        transport = connection.transport
        try:
            yield connection
        finally:
            if connection.reusable and not self._closed:
                self._keep(transport)
            elif not transport.is_closing:  # a caller that closed it wants its last bytes to be sent
                transport.abort()

    def close(self) -> None:
        """Close all idle connections, and keep none from now on."""
        self._closed = True
        self.drop_idle()

    def drop_idle(self) -> None:
        """Close all idle connections, so that the next request opens a new one."""
        for transport in tuple(self._idle):
            self._drop(transport)

    async def _connect(self) -> Transport:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, transport = await loop.create_connection(Transport, DEV_HOST, self._port)
        except OSError as error:  # TimeoutError is a subclass
            raise UpstreamUnreachable(f"nothing answers at {DEV_HOST}:{self._port}: {error}") from error
        transport.on_data = self._note_exchange
        return transport

    def _note_exchange(self) -> None:
        self.last_exchange = self._monotonic()

    def _pop_idle(self) -> Transport | None:
        while self._idle:
            transport, timer = self._idle.popitem()  # the newest, so that the older ones can expire
            timer.cancel()
            transport.on_end = None
            if not transport.ended and not transport.buffer:
                return transport
            transport.abort()
        return None

    def _keep(self, transport: Transport) -> None:
        if transport.ended or transport.buffer or len(self._idle) >= IDLE_MOST:
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._idle[transport] = loop.call_later(IDLE_SECONDS, self._drop, transport)
        transport.on_end = lambda: self._drop(transport)

    def _drop(self, transport: Transport) -> None:
        timer = self._idle.pop(transport, None)
        if timer is not None:
            timer.cancel()
        transport.on_end = None
        transport.abort()
