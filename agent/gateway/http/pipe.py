"""Streams a body from one transport to another as it arrives, with back-pressure.

While a Pipe is attached, bytes that arrive at its source are written to its sink without passing through the source's
buffer, and a sink that is read slowly pauses the source. A `Scanner` (bodies.py) says which byte is the last one.
"""

from __future__ import annotations

import asyncio

from agent.gateway.http.bodies import Scanner
from agent.gateway.http.heads import BadMessage
from agent.gateway.http.transport import PeerGone, Transport


class Pipe:
    """Attached from its creation until the body's end or `stop`."""

    def __init__(self, source: Transport, sink: Transport, scanner: Scanner) -> None:
        self.result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True once the scanner has seen the end; False if the source ended before. Or PeerGone, or BadMessage."""
        self._source = source
        self._sink = sink
        self._scanner = scanner
        source.receiver, sink.producer = self, self
        if source.buffer:
            self.received(source.take())
        if sink.lost:
            self.sink_lost()
        elif source.ended:
            self.source_ended()
        elif sink.writing_paused:
            source.pause_reading()
        else:
            source.resume_reading()

    async def run(self, *, idle_seconds: float | None = None) -> bool:
        """Wait for the result, then stop. Raises TimeoutError when the source has sent nothing for `idle_seconds`,
        not counting the time in which its reading was paused for the sink.
        """
        try:
            while not self.result.done():
                self._source.received_data = False
                await asyncio.wait({self.result}, timeout=idle_seconds)
                if not (self.result.done() or self._source.received_data or self._source.reading_paused):
                    raise TimeoutError
            return self.result.result()
        finally:
            self.stop()

    def stop(self) -> None:
        """Detach, so that what arrives from now on is buffered again. May be called again."""
        self._detach()
        if not self.result.cancel() and not self.result.cancelled():
            self.result.exception()  # marks it as retrieved, so that asyncio does not log it
        self._source.resume_reading()

    def received(self, data: bytes | bytearray) -> None:
        try:
            belongs = self._scanner.feed(data)
        except BadMessage as error:
            self._fail(error)
            return
        self._sink.write(data if belongs == len(data) else data[:belongs])
        if self._scanner.done:
            self._detach()
            self._source.buffer += data[belongs:]
            self._succeed(ended=True)

    def source_ended(self) -> None:
        self._succeed(ended=False)

    def sink_lost(self) -> None:
        self._fail(PeerGone("the connection is closed"))

    def pause_producing(self) -> None:
        self._source.pause_reading()

    def resume_producing(self) -> None:
        self._source.resume_reading()

    def _detach(self) -> None:
        if self._source.receiver is self:
            self._source.receiver = None
        if self._sink.producer is self:
            self._sink.producer = None

    def _succeed(self, *, ended: bool) -> None:
        if not self.result.done():
            self.result.set_result(ended)

    def _fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
