"""Stands at the public port while the agent is asleep, as a hosting proxy does: who comes first wakes it.

The connection that rang is held, the port is let go for the agent, and once the agent listens there the held bytes are
passed on, so that the visitor notices nothing but the wait. Whoever connects later reaches the agent itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from agent.errors import AgentError

ANSWER_SECONDS = 20.0
CHUNK_BYTES = 64 * 1024
LOOK_SECONDS = 0.02

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class NobodyThere(AgentError):
    """The agent that was started for a visitor does not listen."""

    code = "nobody_there"


@dataclass(frozen=True, slots=True)
class Visitors:
    """The connections that rang, their first bytes unread."""

    port: int
    streams: tuple[Streams, ...]

    async def pass_on(self) -> None:
        """Connect each to the agent as soon as it listens, until both sides are done. Raises NobodyThere."""
        try:
            async with asyncio.TaskGroup() as group:
                for visitor in self.streams:
                    group.create_task(self._connect(visitor))
        finally:
            for _, writer in self.streams:
                writer.close()

    async def _connect(self, visitor: Streams) -> None:
        agent = await self._reach()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(visitor[0], agent[1]))
                group.create_task(_pump(agent[0], visitor[1]))
        finally:
            agent[1].close()

    async def _reach(self) -> Streams:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    with suppress(OSError):
                        return await asyncio.open_connection("127.0.0.1", self.port)
                    await asyncio.sleep(LOOK_SECONDS)  # nothing tells that a port is open but an attempt
        except TimeoutError:
            raise NobodyThere(f"nothing listens on port {self.port} after {ANSWER_SECONDS:.0f} s") from None


async def rung(port: int) -> Visitors:
    """Wait for as long as it takes until somebody connects; the port is free again when this returns."""
    came: list[Streams] = []
    first = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append((reader, writer))
        first.set()

    async with _listening(port, connected):
        await first.wait()
        await asyncio.sleep(0)  # a browser opens two at once
    return Visitors(port, tuple(came))


@asynccontextmanager
async def _listening(port: int, connected: Connected) -> AsyncIterator[None]:
    listeners: list[asyncio.Server] = []
    try:
        for host in ("0.0.0.0", "::"):  # noqa: S104 - the agent's own public port, where the agent itself listens
            with suppress(OSError):  # a machine may lack one of the two
                listeners.append(await asyncio.start_server(connected, host, port))
        if not listeners:
            raise NobodyThere(f"port {port} was taken while the agent slept")
        yield
    finally:
        for listener in listeners:
            listener.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # either side may go at any moment
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
