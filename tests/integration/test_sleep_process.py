"""The agent's way to sleep as a process, and what may come in between. The dev server is a small stand-in."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.peers.dead_line import dead_line
from tests.peers.living import living_in
from tests.peers.plain import plain_backend
from tests.peers.stack import KEY, Stack, backend, stack

pytestmark = pytest.mark.timeout(120)

SERVER = f"{shlex.quote(sys.executable)} -m http.server {{port}} --bind 127.0.0.1"
NEVER_READY = "sh -c 'sleep 600 & sleep 600 & wait'"
FAILING = "sh -c 'exit 7'"
SLEEPS_SECONDS = 30.0


@asynccontextmanager
async def day(
    tmp_path: Path, free_port: Callable[[], int], command: str = SERVER, **environ: str
) -> AsyncIterator[Stack]:
    async with plain_backend(tmp_path, free_port()) as files:
        await files.put({"index.html": "hello"})
        async with stack(tmp_path, tmp_path / "app", files.url, free_port, DEV_COMMAND=command, **environ) as running:
            yield running


async def ask_for_sleep(running: Stack) -> int:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with asyncio.timeout(10), running.session.post(f"{running.admin}/sleep", headers=headers) as answer:
        return answer.status


async def falls_asleep(running: Stack) -> None:
    async with asyncio.timeout(SLEEPS_SECONDS):
        assert await running.agent.child.wait() == 0, running.tail()
    assert living_in(running.workspace) == []


async def said(running: Stack, event: str) -> None:
    """Wait for a line in the agent's log."""
    async with asyncio.timeout(SLEEPS_SECONDS):
        while event.encode() not in running.agent.log.read_bytes():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", ["sleep.preparing", "sleep.exit", "agent.stopped"])
async def test_a_signal_on_the_way_to_sleep_ends_it_in_order(
    moment: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with day(tmp_path, free_port) as running:
        await running.ready()
        assert await ask_for_sleep(running) == 202
        await said(running, moment)
        running.agent.child.send_signal(signal.SIGTERM)
        await falls_asleep(running)
        assert orjson.loads(running.agent.log.read_bytes().splitlines()[-1])["event"] == "agent.stopped"


@pytest.mark.parametrize("command", [NEVER_READY, FAILING], ids=["never ready", "failing"])
async def test_who_asks_for_sleep_gets_it_whatever_the_dev_server_does(
    command: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with day(tmp_path, free_port, command) as running:
        await running.until(lambda status: status["dev_server"]["pid"] or status["dev_server"]["crashes"])
        await running.until(lambda status: status["sync"]["applied_at"] is not None)  # an edit would call it off
        assert await ask_for_sleep(running) == 202
        assert await ask_for_sleep(running) == 202
        await falls_asleep(running)


async def test_a_backend_that_does_not_answer_does_not_keep_the_machine_from_sleeping(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with dead_line() as line, backend(tmp_path, free_port()) as files:
        line.peer = int(files.url.rpartition(":")[2])
        await files.put({"index.html": "hello"})
        api = f"http://127.0.0.1:{line.port}"
        async with stack(tmp_path, tmp_path / "app", api, free_port, DEV_COMMAND=SERVER) as running:
            await running.ready()
            line.kill()
            assert await ask_for_sleep(running) == 202
            await falls_asleep(running)


async def test_who_comes_after_two_have_asked_for_sleep_stays(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with day(tmp_path, free_port) as running:
        await running.ready()
        await ask_for_sleep(running)
        await running.until(lambda status: status["phase"] == "sleeping")
        await ask_for_sleep(running)
        visit = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1"}
        async with running.session.get(running.url + "/", headers=visit) as answer:
            assert answer.status == 200
        await said(running, "sleep.called_off")
        await running.until(lambda status: status["idle"]["kind"] == "navigation")
        assert (await running.status())["phase"] == "running"
        assert running.agent.log.read_bytes().count(b"sleep.preparing") == 1


async def test_probes_do_not_keep_the_machine_awake(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with day(tmp_path, free_port, IDLE_TIMEOUT="3s") as running:
        await running.ready()
        async with asyncio.timeout(SLEEPS_SECONDS):
            while running.agent.child.returncode is None and b"sleep.preparing" not in running.agent.log.read_bytes():
                await _probe(running)
                await asyncio.sleep(0.1)  # a prober's own pace
        await falls_asleep(running)


async def _probe(running: Stack) -> None:
    for url in (f"{running.admin}/healthz", f"{running.admin}/metrics", f"{running.url}/"):
        with suppress(aiohttp.ClientError):  # it went to sleep meanwhile
            async with running.session.get(url, headers={"User-Agent": "kube-probe/1.30"}) as answer:
                await answer.read()
