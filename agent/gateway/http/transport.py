"""One TCP connection with back-pressure both ways: the only module here that is called by the event loop.

A Wire reads into a bounded buffer until somebody takes from it, or, while it is joined to another, hands every byte
on at once; either way whoever writes faster than the other side reads is made to wait. What aiohttp offers for this
reads messages into objects and writes them anew; a proxy that must not change them wants the bytes.

Invariants: the buffer never grows past what was read while someone waited for it plus one read of the socket.
`on_end` is called once at most, when the other side has said its last, and not at all after it was cleared.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from agent.gateway.http.bodies import Scanner
from agent.gateway.http.heads import BadMessage

HIGH = 64 * 1024
STALLED_SECONDS = 300.0
"""A reader that takes nothing for so long is given up. A paused video is slow to read too, so it is generous."""


class Vanished(ConnectionError):
    """The other side of a wire is gone, or takes nothing any more."""


class Wire(asyncio.Protocol):
    def __init__(
        self, connected: Callable[[Wire], None] | None = None, lost: Callable[[Wire], None] | None = None
    ) -> None:
        self.buffer = bytearray()
        self.ended = False
        """The other side will send no more."""
        self.lost = False
        """Nothing can be written any more."""
        self.heard = False
        """Set with every arrival, for whoever clears it."""
        self.on_data: Callable[[], None] | None = None
        """Called with every arrival."""
        self.on_end: Callable[[], None] | None = None
        self._when_connected = connected
        self._when_lost = lost
        self._transport: asyncio.Transport | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._choked = False
        self._finished = False
        self._stopped = False
        self._source: Wire | None = None
        self._sink: Wire | None = None
        self._scanner: Scanner | None = None
        self._poured: asyncio.Future[bool] | None = None

    @property
    def transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise Vanished("not connected yet")
        return self._transport

    @property
    def peer(self) -> str:
        """The address of the other side, without its port."""
        name = self.transport.get_extra_info("peername")
        return str(name[0]).removeprefix("::ffff:") if name else "unknown"

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a wire is a stream")
        self._transport = transport
        _notice_the_dead(transport.get_extra_info("socket"))
        if self._when_connected is not None:
            self._when_connected(self)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self.on_data is not None:
            self.on_data()
        if self._sink is not None and self._scanner is not None:
            self._hand_on(data, self._sink, self._scanner)
            return
        self.buffer += data
        if len(self.buffer) >= HIGH and self._reading is None:
            self._stop_reading()
        _wake(self._reading)

    def eof_received(self) -> bool:
        self._end()
        return True  # stay open for what is still to be written

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        _wake(self._writing)
        self._end()
        if self._source is not None:
            self._source._settle(Vanished("the connection is gone"))  # noqa: SLF001  the other end of the same join
        if self._when_lost is not None:
            self._when_lost(self)

    def pause_writing(self) -> None:
        self._choked = True
        if self._source is not None:
            self._source._stop_reading()  # noqa: SLF001  the other end of the same join

    def resume_writing(self) -> None:
        self._choked = False
        _wake(self._writing)
        if self._source is not None:
            self._source._go_on_reading()  # noqa: SLF001  the other end of the same join

    # What the rest of the room calls.

    async def fill(self) -> bool:
        """Wait until there is more in the buffer than now; False when no more will come."""
        if self.ended:
            return False
        self._go_on_reading()
        self._reading = asyncio.get_running_loop().create_future()
        before = len(self.buffer)
        try:
            await self._reading
        finally:
            self._reading = None
        return len(self.buffer) > before

    def take(self, most: int | None = None) -> bytes | bytearray:
        """Remove and return what is in the buffer, or its first `most` bytes."""
        if most is None or most >= len(self.buffer):
            taken, self.buffer = self.buffer, bytearray()
            return taken
        head = bytes(memoryview(self.buffer)[:most])
        del self.buffer[:most]
        return head

    def write(self, data: bytes | bytearray) -> None:
        """Send `data` when there is room for it; after `finish`, and to a lost connection, nothing is sent."""
        if not self.lost and not self._finished:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the other side has taken most of what was written; raises Vanished."""
        if self._choked and not self.lost:
            self._writing = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(STALLED_SECONDS):
                    await self._writing
            except TimeoutError:
                raise Vanished("nothing was read for too long") from None
            finally:
                self._writing = None
        if self.lost:
            raise Vanished("the connection is gone")

    def take_scanned(self, scanner: Scanner) -> bytes | bytearray:
        """Remove and return what of the buffer belongs to what `scanner` scans."""
        return self.take(scanner.feed(self.buffer))

    def join(self, sink: Wire, scanner: Scanner) -> asyncio.Future[bool]:
        """From now on everything that arrives here leaves there, up to where `scanner` sees the end: then the result
        is True. It is False when this side ended first, and Vanished or BadMessage where it cannot go on. `part` ends
        it in any case.
        """
        self._sink, self._scanner, sink._source = sink, scanner, self
        self._poured = asyncio.get_running_loop().create_future()
        if self.buffer:
            self._hand_on(self.take(), sink, scanner)
        if sink.lost:
            self._settle(Vanished("the connection is gone"))
        elif self.ended:
            self._settle(outcome=False)
        elif sink._choked:
            self._stop_reading()
        else:
            self._go_on_reading()
        return self._poured

    def part(self) -> None:
        """Keep what arrives from now on in the buffer again. Twice is as good as once."""
        if self._sink is not None:
            self._sink._source = None  # noqa: SLF001  the other end of the same join
        poured = self._poured
        if poured is not None and not poured.cancel() and not poured.cancelled():
            poured.exception()  # nobody may have asked; asyncio would complain
        self._sink = self._scanner = self._poured = None
        self._go_on_reading()

    async def pour(self, sink: Wire, scanner: Scanner, *, patience: float | None = None) -> bool:
        """`join`, waited for. Raises TimeoutError when this side could have sent something for `patience` seconds."""
        poured = self.join(sink, scanner)
        try:
            while not poured.done():
                self.heard = False
                await asyncio.wait({poured}, timeout=patience)
                if not (poured.done() or self.heard or self._stopped):
                    raise TimeoutError
            return poured.result()
        finally:
            self.part()

    def finish(self) -> None:
        """Say that nothing more will be written, and stay open to read."""
        self._finished = True
        if not self.lost and not self.transport.is_closing() and self.transport.can_write_eof():
            with suppress(OSError):  # it may have been reset this very moment, and `connection_lost` be on its way
                self.transport.write_eof()

    def close(self) -> None:
        """Close once everything written has left. Twice is as good as once."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, and drop what has not left."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        _wake(self._reading)
        self._settle(outcome=False)
        if self.on_end is not None:
            self.on_end()

    def _hand_on(self, data: bytes | bytearray, sink: Wire, scanner: Scanner) -> None:
        try:
            mine = scanner.feed(data)
        except BadMessage as error:
            self._settle(error)
            return
        sink.write(data if mine == len(data) else data[:mine])
        if scanner.done:
            self._sink = self._scanner = sink._source = None
            self.buffer += data[mine:]
            self._settle(outcome=True)

    def _settle(self, error: Exception | None = None, *, outcome: bool = False) -> None:
        if self._poured is None or self._poured.done():
            return
        if error is not None:
            self._poured.set_exception(error)
        else:
            self._poured.set_result(outcome)

    def _stop_reading(self) -> None:
        if not self._stopped and not self.lost:
            self._stopped = True
            self.transport.pause_reading()

    def _go_on_reading(self) -> None:
        if self._stopped and not self.lost:
            self._stopped = False
            self.transport.resume_reading()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _notice_the_dead(link: socket.socket | None) -> None:
    """Let the kernel find out that the other side has lost its power or its network: within a minute on a quiet
    connection, and where something waits to be read, when we would give up as well.
    """
    if link is None or link.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    unread = ("TCP_USER_TIMEOUT", int(STALLED_SECONDS * 1000))
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), unread):
        if hasattr(socket, option):  # the names are Linux's; elsewhere the system's own patience has to do
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
