"""A gateway on a free port in front of a test's dev server, and raw connections to it.

Leaving the block stops it, and then nothing may be left: no task and no open connection, on either side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from agent.clock import Clock
from agent.gateway.server import Gateway
from agent.status import DevServerFacts, DevServerState, Snapshot, SyncFacts
from agent.status_board import StatusBoard

BLANK = Snapshot("app-1", "machine-1", "2026-01-01T00:00:00.000Z", "0.1.0")
SYNCED = SyncFacts(state="current", files=57, applied_at="2026-01-01T00:00:01.000Z")


class MemoryLog:
    """A dev server's output that a test writes."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self._readers: set[asyncio.Queue[str]] = set()

    def lines(self) -> list[str]:
        return list(self.kept)

    def write(self, line: str) -> None:
        self.kept.append(line)
        for queue in self._readers:
            queue.put_nowait(line)

    def follow(self) -> AsyncGenerator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._readers.add(queue)

        async def lines() -> AsyncGenerator[str]:
            try:
                while True:
                    yield await queue.get()
            finally:
                self._readers.discard(queue)

        return lines()


class Standing:
    def __init__(self, dev_port: int) -> None:
        self.board = StatusBoard(BLANK)
        self.log = MemoryLog()
        self.activity: list[tuple[str, str]] = []
        self.attended: list[bool] = []
        """For each of `activity`: was a person there?"""
        self.gateway = Gateway(
            board=self.board,
            logs=self.log,
            dev_port=dev_port,
            clock=Clock(),
            on_activity=self._on_activity,
        )

    def _on_activity(self, kind: str, source: str, *, attended: bool) -> None:
        self.activity.append((kind, source))
        self.attended.append(attended)

    def becomes(self, state: DevServerState, **facts: Any) -> None:
        """Say on the board what the dev server is doing."""
        self.board.sync(SYNCED)
        ready = {"ready_at": "2026-01-01T00:00:09.000Z", "reason": "it answers"} if state == "ready" else {}
        self.board.dev_server(replace(DevServerFacts(state=state), **{**ready, **facts}))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Raw]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port, limit=2**22)
        try:
            yield Raw(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Send `request` on a connection of its own; the answer's head and body, read until the connection closes."""
        async with self.connection() as raw:
            raw.send(request)
            async with asyncio.timeout(20):
                whole = await raw.reader.read(-1)
        head, _, body = whole.partition(b"\r\n\r\n")
        return head, body


class Raw:
    """One connection to the gateway, in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """The next answer's head, without the empty line."""
        async with asyncio.timeout(20):
            return (await self.reader.readuntil(b"\r\n\r\n"))[:-4]

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.readexactly(size)

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.read(-1)


@asynccontextmanager
async def standing_gateway(dev_port: int, state: DevServerState | None = "ready") -> AsyncIterator[Standing]:
    """`state` None leaves the board as it is when the agent starts."""
    standing = Standing(dev_port)
    if state is not None:
        standing.becomes(state)
    before = asyncio.all_tasks()
    await standing.gateway.start(0, "127.0.0.1")
    try:
        yield standing
    finally:
        await standing.gateway.stop()
    assert not standing.gateway._serving
    assert not standing.gateway._open
    left = {task for task in asyncio.all_tasks() - before if "agent/gateway" in repr(task)}
    assert not left, left


def fields(head: bytes) -> dict[str, str]:
    """An answer's header fields by lower-case name; the last one wins."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in the gateway without telling anybody."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  there is no event for what must not be there any more
            await asyncio.sleep(0.01)
