"""One TCP connection as bytes, with flow control in both directions.

The event loop calls a `Transport`. Bytes that arrive go into a buffer until a caller takes them, or to a `Pipe`
(pipe.py) while one is attached. asyncio's streams and aiohttp are not used, because aiohttp parses messages and
serializes them again, and a proxy that must not change a body needs the bytes themselves.

Invariants: reading pauses once the buffer holds HIGH bytes that nobody waits for, so the buffer exceeds what a caller
waited for by one read of the socket at most. `on_end` is called at most once, when the peer has sent its last byte,
and not at all after it was cleared.

What must not live here: what the bytes mean (heads.py, bodies.py).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

HIGH = 64 * 1024
STALLED_SECONDS = 300.0
"""A peer that reads nothing for this long is given up. A paused video reads slowly too, so the limit is generous."""
LINGER_SECONDS = 1.0


class PeerGone(ConnectionError):
    """The peer has closed the connection, or reads nothing any more."""


class Receiver(Protocol):
    """Gets the bytes that arrive on a transport, in place of its buffer."""

    def received(self, data: bytes | bytearray) -> None: ...

    def source_ended(self) -> None: ...


class Producer(Protocol):
    """Writes to a transport from callbacks, so it is told when to pause instead of awaiting `drain`."""

    def pause_producing(self) -> None: ...

    def resume_producing(self) -> None: ...

    def sink_lost(self) -> None: ...


class Transport(asyncio.Protocol):
    def __init__(
        self,
        connected: Callable[[Transport], None] | None = None,
        disconnected: Callable[[Transport], None] | None = None,
    ) -> None:
        self.buffer = bytearray()
        self.ended = False
        """True once the peer will send no more."""
        self.lost = False
        """True once nothing can be written any more."""
        self.received_data = False
        """Set with every arrival. Callers clear it to detect silence."""
        self.on_data: Callable[[], None] | None = None
        """Called with every arrival."""
        self.on_end: Callable[[], None] | None = None
        self.receiver: Receiver | None = None
        self.producer: Producer | None = None
        self.reading_paused = False
        self.writing_paused = False
        self._connected = connected
        self._disconnected = disconnected
        self._asyncio_transport: asyncio.Transport | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._finished = False

    @property
    def is_closing(self) -> bool:
        return self._socket.is_closing()

    @property
    def peer(self) -> str:
        """The peer's address without its port."""
        name = self._socket.get_extra_info("peername")
        return str(name[0]).removeprefix("::ffff:") if name else "unknown"

    @property
    def _socket(self) -> asyncio.Transport:
        if self._asyncio_transport is None:
            raise PeerGone("not connected yet")
        return self._asyncio_transport

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("only stream transports are supported")
        self._asyncio_transport = transport
        _enable_keepalive(transport.get_extra_info("socket"))
        if self._connected is not None:
            self._connected(self)

    def data_received(self, data: bytes) -> None:
        self.received_data = True
        if self.on_data is not None:
            self.on_data()
        if self.receiver is not None:
            self.receiver.received(data)
            return
        self.buffer += data
        if len(self.buffer) >= HIGH and self._reading is None:
            self.pause_reading()
        _wake(self._reading)

    def eof_received(self) -> bool:
        self._end()
        return True  # keep the connection open for what is still to be written

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        _wake(self._writing)
        self._end()
        if self.producer is not None:
            self.producer.sink_lost()
        if self._disconnected is not None:
            self._disconnected(self)

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self.producer is not None:
            self.producer.pause_producing()

    def resume_writing(self) -> None:
        self.writing_paused = False
        _wake(self._writing)
        if self.producer is not None:
            self.producer.resume_producing()

    # Called by the gateway.

    async def fill(self) -> bool:
        """Wait until more bytes are in the buffer; False when no more will come."""
        if self.ended:
            return False
        self.resume_reading()
        self._reading = asyncio.get_running_loop().create_future()
        before = len(self.buffer)
        try:
            await self._reading
        finally:
            self._reading = None
        return len(self.buffer) > before

    def take(self, most: int | None = None) -> bytes | bytearray:
        """Remove and return the buffer's bytes, or its first `most` bytes."""
        if most is None or most >= len(self.buffer):
            taken, self.buffer = self.buffer, bytearray()
            return taken
        head = bytes(memoryview(self.buffer)[:most])
        del self.buffer[:most]
        return head

    def write(self, data: bytes | bytearray) -> None:
        """Queue `data` for sending. After `finish`, or on a lost connection, it is dropped."""
        if not self.lost and not self._finished:
            self._socket.write(data)

    async def drain(self) -> None:
        """Wait until the peer has read most of what was written. Raises PeerGone."""
        if self.writing_paused and not self.lost:
            self._writing = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(STALLED_SECONDS):
                    await self._writing
            except TimeoutError:
                raise PeerGone("the peer read nothing for too long") from None
            finally:
                self._writing = None
        if self.lost:
            raise PeerGone("the connection is closed")

    def pause_reading(self) -> None:
        if not self.reading_paused and not self.lost:
            self.reading_paused = True
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused and not self.lost:
            self.reading_paused = False
            self._socket.resume_reading()

    def finish(self) -> None:
        """Half-close: end the sending side and keep reading."""
        self._finished = True
        if not self.lost and not self._socket.is_closing() and self._socket.can_write_eof():
            with suppress(OSError):  # the peer may have reset it just now, before `connection_lost` was called
                self._socket.write_eof()

    async def linger(self) -> None:
        """Half-close, and discard what still arrives for up to LINGER_SECONDS. Closing with unread input makes the
        kernel send RST, which would destroy a response that is still on its way.
        """
        self.on_end = None
        self.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                self.buffer.clear()
                while await self.fill():
                    self.buffer.clear()

    def close(self) -> None:
        """Close once everything written has been sent. May be called again."""
        if self._asyncio_transport is not None:
            self._asyncio_transport.close()

    def abort(self) -> None:
        """Close now, and drop what was not sent."""
        if self._asyncio_transport is not None:
            self._asyncio_transport.abort()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        _wake(self._reading)
        if self.receiver is not None:
            self.receiver.source_ended()
        if self.on_end is not None:
            self.on_end()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _enable_keepalive(sock: socket.socket | None) -> None:
    """Let the kernel detect a peer that lost its power or its network: within a minute on a quiet connection, and
    after STALLED_SECONDS where sent bytes are not acknowledged.
    """
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    unacknowledged = ("TCP_USER_TIMEOUT", int(STALLED_SECONDS * 1000))
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), unacknowledged):
        if hasattr(socket, option):  # the names are Linux's; elsewhere the system's defaults apply
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
