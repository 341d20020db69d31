"""Listens on the public port while the agent is asleep, as a hosting proxy does: the first connection wakes it.

The connection is held and the port is released for the agent. When the agent listens there, the held bytes are
forwarded, so that the client only notices the delay. Later connections reach the agent itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from agent.errors import AgentError

ANSWER_SECONDS = 20.0
CHUNK_BYTES = 64 * 1024
RETRY_SECONDS = 0.02

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class AgentNotListening(AgentError):
    """The agent that was started for a connection does not listen."""

    code = "agent_not_listening"


@dataclass(frozen=True, slots=True)
class HeldConnections:
    """The connections that woke the agent. Nothing was read from them."""

    port: int
    streams: tuple[Streams, ...]

    async def forward(self) -> None:
        """Connect each to the agent once it listens, until both sides are done. Raise AgentNotListening."""
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
                    await asyncio.sleep(RETRY_SECONDS)  # only an attempt shows that a port is open
        except TimeoutError:
            raise AgentNotListening(f"nothing listens on port {self.port} after {ANSWER_SECONDS:.0f} s") from None


async def wait_for_connection(port: int) -> HeldConnections:
    """Wait without a limit until a client connects. The port is free again when this returns."""
    came: list[Streams] = []
    first = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append((reader, writer))
        first.set()

    async with _listening(port, connected):
        await first.wait()
        await asyncio.sleep(0)  # a browser opens two at once
    return HeldConnections(port, tuple(came))


@asynccontextmanager
async def _listening(port: int, connected: Connected) -> AsyncIterator[None]:
    listeners: list[asyncio.Server] = []
    try:
        for host in ("0.0.0.0", "::"):  # noqa: S104 - the agent's own public port, where the agent itself listens
            with suppress(OSError):  # a machine may lack one of the two
                listeners.append(await asyncio.start_server(connected, host, port))
        if not listeners:
            raise AgentNotListening(f"another program took port {port} while the agent slept")
        yield
    finally:
        for listener in listeners:
            listener.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # either side may disconnect at any time
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
