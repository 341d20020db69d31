"""A dev server made of a few lines of a test: each connection is handed to a coroutine with a reader and a writer.

It sends exactly the bytes that the test writes, which no HTTP library would, and counts who is connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.port = 0
        self.accepted = 0
        self.ended = asyncio.Event()
        """Set when a connection's script has ended, whichever way."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> int:
        return len(self._tasks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.ended.set()

    def cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


@asynccontextmanager
async def scripted_server(script: Script, port: int = 0) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", port)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        server.cancel()
        while server.connected:
            server.ended.clear()
            await server.ended.wait()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """One request's head, with the empty line."""
    return await reader.readuntil(b"\r\n\r\n")


def answering(answer: bytes) -> Script:
    """A script that gives every request without a body the same answer, on one connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(answer)
            await writer.drain()

    return script


def recording(answer: bytes, heads: list[bytes]) -> Script:
    """As `answering`, and keeps what was asked."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(answer)
            await writer.drain()

    return script
