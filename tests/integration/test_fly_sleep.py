"""The whole agent on a stand-in for a Fly machine: it falls quiet, and is frozen and goes on, or else ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from agent.gateway.websocket.page_messages import SLEEP
from agent.sleep.resume import LATE_SECONDS
from tests.peers.fly_world import PROMPTLY, World, world

pytestmark = pytest.mark.timeout(120)

SLEEPY = {"SLEEP_MODE": "suspend", "IDLE_TIMEOUT": "1s"}
ASLEEP = 40.0
"""The quiet time, the farewell, the dev server's own quiet time, the freeze."""


async def frozen(it: World) -> None:
    async with asyncio.timeout(ASLEEP):
        await it.machine.frozen.wait()


async def look(it: World) -> str:
    async with it.agent.session.get(it.agent.url) as answer:
        return await answer.text()


async def test_a_quiet_machine_is_frozen_goes_on_with_all_it_had_and_falls_asleep_again(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with world(tmp_path, free_port, **SLEEPY) as it:
        ready = await it.agent.ready()
        live = f"{it.agent.url}/__preview/live?path=/"
        async with it.agent.session.ws_connect(live, origin=it.agent.url) as page:
            await page.send_str("visible")
            await it.agent.until(lambda status: (status["idle"]["visible"], status["phase"]) == (1, "running"))
            assert (await page.receive(timeout=ASLEEP)).data == SLEEP.decode()
            status = await it.agent.until(lambda status: status["phase"] == "sleeping")
            assert status["idle"]["sentence"].startswith("going to sleep: someone looked at /")
        await frozen(it)
        it.line.kill()
        revision = await it.edit("made while it was frozen")
        await asyncio.sleep(LATE_SECONDS + 2)  # how long it is frozen is what is noticed
        it.machine.start()

        after = await it.agent.until(
            lambda status: status["phase"] == "running" and status["sync"]["revision"] == revision, PROMPTLY
        )
        assert (after["idle"]["visible"], after["idle"]["hidden"]) == (0, 0)
        assert after["dev_server"]["pid"] == ready["dev_server"]["pid"]
        assert await look(it) == "made while it was frozen"
        await frozen(it)
        await asyncio.sleep(LATE_SECONDS + 2)
        it.machine.start()
        alone = await it.agent.until(lambda status: status["phase"] == "running", PROMPTLY)
        assert alone["idle"]["kind"] == "resume", "nobody came, and it goes on all the same"


async def test_a_visitor_who_comes_before_the_freeze_is_answered_and_found_awake_after_it(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with world(tmp_path, free_port, **SLEEPY) as it:
        await it.agent.ready()
        async with asyncio.timeout(ASLEEP):
            await it.machine.granted.wait()
        assert await look(it) == "first"
        status = await it.agent.until(lambda status: status["phase"] == "running", PROMPTLY)
        assert status["idle"]["kind"] == "app_request"
        await frozen(it)
        it.machine.start()
        assert await look(it) == "first"
        assert (await it.agent.status())["phase"] == "running"


async def test_a_machine_that_cannot_be_suspended_ends_instead_with_status_0_and_says_why(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with world(tmp_path, free_port, **SLEEPY) as it:
        it.machine.memory_mb = 4096
        await it.agent.ready()
        async with asyncio.timeout(ASLEEP):
            assert await it.agent.agent.child.wait() == 0, it.agent.tail()
        said = it.agent.tail()
        assert "machine has too much memory to be suspended" in said
        assert '"instead":"exit"' in said
        with pytest.raises(aiohttp.ClientConnectorError):
            await look(it)
