"""A real server on a real AGENT_PORT, and what it is a view of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from agent.admin.server import Actions, Admin
from agent.clock import Clock
from agent.config import Secret
from agent.status_board import StatusBoard
from tests.peers.snapshots import RUNNING

KEY = "s3cret-key"
DEADLINE = 10.0


class Output:
    """A dev server's output that a test writes."""

    def __init__(self, *lines: str) -> None:
        self.kept = list(lines)
        self.followers: list[asyncio.Queue[str | None]] = []

    def say(self, line: str | None) -> None:
        """A line, or None: the end of the log."""
        for queue in self.followers:
            queue.put_nowait(line)

    def lines(self) -> list[str]:
        return list(self.kept)

    def follow(self) -> AsyncGenerator[str]:
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.followers.append(queue)
        return self._new(queue)

    async def _new(self, queue: asyncio.Queue[str | None]) -> AsyncGenerator[str]:
        try:
            while (line := await queue.get()) is not None:
                yield line
        finally:
            self.followers.remove(queue)


@dataclass
class Port:
    """`asked`: what was asked of the agent, in order."""

    admin: Admin
    board: StatusBoard
    output: Output
    client: aiohttp.ClientSession
    asked: list[str] = field(default_factory=list)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.client.get(path) as response:
            return response.status, orjson.loads(await response.read())


@asynccontextmanager
async def admin_port(
    key: Secret | None = Secret(KEY),  # noqa: B008 - a Secret is a frozen value
    clock: Clock = Clock(),  # noqa: B008 - as above
    app_user: int | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Port]:
    board, output, asked = StatusBoard(RUNNING), Output(), []
    actions = Actions(
        sync=lambda: asked.append("sync"),
        restart=lambda reason: asked.append(f"restart: {reason}"),
        sleep=lambda: asked.append("sleep"),
    )
    admin = Admin(board=board, key=key, logs=output, actions=actions, clock=clock, app_user=app_user)
    await admin.start(0, host)
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{admin.port}", timeout=timeout) as client:
            yield Port(admin, board, output, client, asked)
    finally:
        await admin.stop()


async def next_event(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The next Server-Sent Event by its fields; a comment has the one field ''."""
    got: dict[str, str] = {}
    while True:
        line = (await response.content.readline()).decode()
        if not line:
            raise EOFError
        if line == "\n" and got:
            return got
        name, _, value = line.rstrip("\n").partition(": ")
        got[name.rstrip(":")] = value


async def until(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait for something that wakes nobody: how many streams the server still holds."""
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for; the deadline bounds it
            await asyncio.sleep(0.005)
