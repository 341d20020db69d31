"""A TCP forwarder in front of the backend that counts bytes and requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

REQUEST_LINE = re.compile(rb"[A-Z]+ /\S* HTTP/1\.1\r\n")
"""Not anchored to a line: a request follows the body of the previous one without a line break."""
CHUNK = 65_536


@dataclass
class Counter:
    """`sent`: all bytes from the agent, which are few while it is idle."""

    port: int
    received: int = 0
    sent: bytearray = field(default_factory=bytearray)

    @property
    def bytes(self) -> int:
        return self.received + len(self.sent)

    @property
    def requests(self) -> int:
        return len(REQUEST_LINE.findall(self.sent))

    def reset(self) -> None:
        self.received = 0
        self.sent.clear()


@asynccontextmanager
async def counter(port: int, backend_port: int) -> AsyncIterator[Counter]:
    """Listen on `port` until the block ends."""
    counted = Counter(port)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            serving.add(task)
            task.add_done_callback(serving.discard)
        with suppress(OSError, asyncio.CancelledError):
            await _forward(counted, reader, writer, backend_port)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield counted
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _forward(
    counted: Counter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend_port: int
) -> None:
    answers, requests = await asyncio.open_connection("127.0.0.1", backend_port)

    async def up() -> None:
        while data := await reader.read(CHUNK):
            counted.sent += data
            requests.write(data)
            await requests.drain()
        requests.close()

    async def down() -> None:
        while data := await answers.read(CHUNK):
            counted.received += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(up())
            both.create_task(down())
    except* OSError:
        pass  # one side disconnected, and the other is closed with it
    finally:
        requests.close()
