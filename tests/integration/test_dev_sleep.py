"""`scripts/dev` around an agent that sleeps: a stand-in that answers one visit, or none, and then ends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import pytest

from control.dev.agent_loop import AgentLoop
from control.dev.processes import Program, ProgramFailed, running

DEADLINE = 30.0

AGENT = """
import pathlib, socket, sys
lives = pathlib.Path(sys.argv[1])
life = len(lives.read_text()) if lives.exists() else 0
lives.write_text("x" * (life + 1))
if life == 0:
    raise SystemExit(0)
with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as server:
    client, _ = server.accept()
    while b"\\r\\n\\r\\n" not in client.recv(65536):
        pass
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\nlife")
    client.close()
raise SystemExit(int(sys.argv[3]))
"""


def life(folder: Path, port: int, said: list[str], asleep: asyncio.Event, status: int = 0) -> AgentLoop:
    def start() -> AbstractAsyncContextManager[Program]:
        command = [sys.executable, "-c", AGENT, str(folder / "lives"), str(port), str(status)]
        return running("agent", command, dict(os.environ), folder / "agent.log", said.append)

    async def announce(first: bool) -> None:  # noqa: FBT001 - the form of a AgentLoop's callable
        said.append("a first life" if first else "another life")

    def say(line: str) -> None:
        said.append(line)
        asleep.set()

    return AgentLoop(start=start, announce=announce, port=port, say=say)


async def visit(port: int, asleep: asyncio.Event) -> str:
    """Come when the agent is asleep, and as soon as the port is stood at."""
    await asleep.wait()
    asleep.clear()
    async with aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    return await answer.text()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)  # it is said before the port is listened on


async def test_a_visit_wakes_the_agent_and_is_answered_by_it(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port, said, asleep = free_port(), list[str](), asyncio.Event()

    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        running_life = group.create_task(life(tmp_path, port, said, asleep).run())
        assert await visit(port, asleep) == "life"
        assert await visit(port, asleep) == "life", "it can sleep and wake more than once"
        running_life.cancel()

    assert (tmp_path / "lives").read_text() == "xxx"
    assert said[0] == "a first life"
    assert f"Opening http://localhost:{port} wakes it." in said[1]


async def test_an_agent_that_fails_is_not_taken_for_one_that_sleeps(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, asleep = free_port(), asyncio.Event()

    async def day() -> None:
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            group.create_task(life(tmp_path, port, [], asleep, status=3).run())
            assert await visit(port, asleep) == "life"

    with pytest.raises(ExceptionGroup) as failed:
        await day()
    assert failed.group_contains(ProgramFailed, match="the agent ended with status 3")
