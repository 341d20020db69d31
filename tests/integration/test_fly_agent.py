"""The agent as a process on a stand-in for a Fly machine, without a key, against the real control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agent.sleep.fly_api import FlySocket
from agent.sleep.resume import LATE_SECONDS
from tests.peers.fly_machine import APP, MACHINE
from tests.peers.fly_world import PROMPTLY, world

pytestmark = pytest.mark.timeout(120)


async def test_files_arrive_by_the_machines_own_token_which_is_nowhere_to_be_read(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with world(tmp_path, free_port) as it:
        await it.agent.ready()
        await it.agent.applied(await it.edit("second"))
        assert (it.agent.workspace / "index.html").read_text() == "second"
        (token,) = it.machine.issued
        said = it.agent.agent.log.read_text()
        for path in ("status", "metrics", "logs"):
            async with it.agent.session.get(f"{it.agent.admin}/{path}") as answer:
                said += await answer.text()
        assert token not in said
        for process in psutil.Process(it.agent.agent.child.pid).children(recursive=True):
            assert not {token, str(it.machine.path)} & set(process.environ().values())
        async with it.agent.session.post(f"{it.agent.admin}/sync", headers={"Authorization": f"Bearer {token}"}) as no:
            assert no.status == 401
            assert "started without API_KEY" in await no.text()


@pytest.mark.parametrize(
    ("trust", "claim"),
    [
        ({"audience": "https://elsewhere.example"}, "aud (it is API_URL, letter by letter)"),
        ({"known": f"{APP}/stranger"}, "machine_id"),
        ({"known": f"preview-stranger/{MACHINE}"}, "app_name"),
    ],
)
async def test_a_backend_that_expects_another_machine_is_told_of_in_the_status(
    tmp_path: Path, free_port: Callable[[], int], trust: dict[str, str], claim: str
) -> None:
    async with world(tmp_path, free_port, **trust) as it:
        status = await it.agent.until(it.failed_with("refuses this machine's token", f"for its claim {claim}"))
        assert status["sync"]["failure"]["code"] == "unauthorized"
        assert not (it.agent.workspace / "index.html").exists()
        await it.agent.until(lambda status: status["sync"]["failure"]["tries"] >= 5)
        assert len(it.machine.issued) <= 3  # a refusal is no reason to ask Fly again and again


async def test_a_socket_that_gives_no_token_is_told_of_and_the_agent_goes_on_when_it_does(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with world(tmp_path, free_port) as it:
        it.machine.refusal = (500, b'{"error":"out of order"}')
        await it.agent.until(it.failed_with("no key: API_KEY is not set", "Fly answered 500: out of order"))
        it.machine.refusal = None
        await it.agent.ready()


async def test_a_token_of_a_short_life_is_renewed_while_edits_go_on(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with world(tmp_path, free_port) as it:
        it.machine.life = 2.0
        await it.agent.ready()
        for number in range(100):
            await it.agent.applied(await it.edit(f"edit {number}"))
            if len(it.machine.issued) >= 4:
                break
        assert len(set(it.machine.issued)) >= 4


async def test_after_a_freeze_dead_connections_are_given_up_and_the_next_edit_arrives_promptly(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with world(tmp_path, free_port) as it:
        await it.agent.ready()
        await it.agent.applied(await it.edit("brought by a held request, which another follows"))
        await FlySocket(it.machine.known).suspend()
        await it.machine.frozen.wait()
        it.line.kill()
        revision = await it.edit("made while it was frozen")
        await asyncio.sleep(LATE_SECONDS + 2)  # how long it is frozen is what is noticed
        it.machine.start()
        after = await it.agent.applied(revision, within=PROMPTLY)
        assert "sleep.resumed" in it.agent.agent.log.read_text()
        assert after["dev_server"]["restarts"] == 0
        later = await it.agent.applied(await it.edit("made later"), within=PROMPTLY)
        assert "wait" in later["sync"]["backend"]
        assert len(it.machine.issued) == 2  # nobody knows how long it was: the token is asked for anew
