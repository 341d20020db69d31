"""The agent as a process: how it starts, what it refuses, how it ends. The dev server is a small stand-in."""

from __future__ import annotations

import asyncio
import random
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.peers.living import living_in
from tests.peers.plain import PlainBackend, plain_backend
from tests.peers.stack import KEY, Process, Stack, stack

pytestmark = pytest.mark.timeout(120)

SERVER = f"{shlex.quote(sys.executable)} -m http.server {{port}} --bind 127.0.0.1"
FAMILY = "sh -c 'sleep 600 & sleep 600 & wait'"
"""A dev server with children of its own, which never answers."""


@pytest.fixture
async def api(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[PlainBackend]:
    async with plain_backend(tmp_path, free_port()) as backend:
        await backend.put({"index.html": "<h1>hello</h1>"})
        yield backend


async def test_the_files_are_served_through_the_public_port_and_the_key_is_nowhere_to_be_read(
    tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    async with stack(tmp_path, tmp_path / "app", api.url, free_port, DEV_COMMAND=SERVER) as running:
        await running.ready()
        async with running.session.get(running.url + "/index.html") as answer:
            assert (answer.status, await answer.text()) == (200, "<h1>hello</h1>")
        said = ""
        for path in ("status", "metrics", "logs", "healthz", "readyz"):
            async with running.session.get(f"{running.admin}/{path}") as answer:
                said += await answer.text()
        (child,) = living_in(running.workspace)
        assert KEY not in child.environ().values()
    assert KEY not in said + running.agent.log.read_text()
    lines = [orjson.loads(line) for line in running.agent.log.read_bytes().splitlines()]
    assert lines[-1]["event"] == "agent.stopped"


async def test_every_wrong_variable_is_named_in_one_line_and_the_status_is_2(tmp_path: Path) -> None:
    agent = Process("agent", "run", log=tmp_path / "log", environ={"API_URL": "ftp://x", "PORT": "0", "APP_ID": "a"})
    await agent.start()
    async with asyncio.timeout(20):
        assert await agent.child.wait() == 2
    (line,) = agent.log.read_text().splitlines()
    assert "API_URL" in line
    assert "PORT is '0' (it takes a port from 1 to 65535)" in line


async def test_a_second_agent_on_the_same_state_folder_is_refused(
    tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    async with stack(tmp_path, tmp_path / "app", api.url, free_port, DEV_COMMAND=SERVER) as running:
        await running.ready()
        second = Process("agent", "run", log=tmp_path / "second.log", environ=running.agent.environ)
        await second.start()
        async with asyncio.timeout(20):
            assert await second.child.wait() == 2
        assert "another agent is running with it" in second.log.read_text()
        await running.status()


async def test_a_public_port_that_is_taken_is_named_and_the_status_is_2(
    tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    async with aiohttp.ClientSession() as session:
        ports = free_port(), free_port(), free_port()
        running = Stack(tmp_path, tmp_path / "app", api.url, *ports, session, {"DEV_COMMAND": SERVER})
        with socket.socket() as stranger:
            stranger.bind(("0.0.0.0", running.port))
            stranger.listen()
            await running.agent.start()
            async with asyncio.timeout(20):
                assert await running.agent.child.wait() == 2
    assert f"PORT {running.port} is taken" in running.agent.log.read_text()


@pytest.mark.long
async def test_a_hundred_stops_at_any_moment_leave_no_orphan(
    tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    chance = random.Random(seed := random.randrange(2**32))
    places = asyncio.Semaphore(4)

    async def one(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        async with places, aiohttp.ClientSession() as session:
            ports = free_port(), free_port(), free_port()
            running = Stack(folder, folder / "app", api.url, *ports, session, {"DEV_COMMAND": FAMILY})
            await running.agent.start()
            await running.until(lambda status: bool(status["started_at"]))
            await asyncio.sleep(chance.random() * 0.3)  # the moment is what is tried here
            number_to_send = chance.choice((signal.SIGTERM, signal.SIGINT))
            assert await running.agent.stop(number_to_send) == 0, f"seed {seed}\n{running.tail()}"
            assert living_in(running.workspace) == []

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))


async def test_a_second_signal_ends_it_at_once_and_leaves_no_orphan(
    tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    deaf = "sh -c 'trap \"\" TERM INT; sleep 600 & wait; sleep 600'"
    async with stack(tmp_path, tmp_path / "app", api.url, free_port, DEV_COMMAND=deaf) as running:
        await running.until(lambda status: status["dev_server"]["pid"] is not None)
        running.agent.child.send_signal(signal.SIGTERM)
        await running.until(lambda status: status["phase"] == "stopping")
        assert await running.agent.stop() == 130
        assert living_in(running.workspace) == []


async def test_a_look_up_that_hangs_holds_up_no_end(tmp_path: Path, free_port: Callable[[], int]) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, socket, time\n"
        "system = socket.getaddrinfo\n"
        "def getaddrinfo(host, *more, **named):\n"
        "    if host != 'silent.example':\n"
        "        return system(host, *more, **named)\n"
        f"    pathlib.Path({str(asked)!r}).touch()\n"
        "    time.sleep(600)\n"
        "socket.getaddrinfo = getaddrinfo\n"
    )
    unreachable = "http://silent.example"
    async with stack(
        tmp_path, tmp_path / "app", unreachable, free_port, DEV_COMMAND=SERVER, PYTHONPATH=str(tmp_path)
    ) as running:
        await running.until(lambda status: asked.exists() and status["dev_server"]["state"] == "waiting")
        assert await running.agent.stop() == 0, running.tail()
        assert living_in(running.workspace) == []
