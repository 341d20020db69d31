"""The token of a machine without a key, from a real socket: kept, renewed, shared, and what its lack looks like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.backend.credential import MachineToken, credential
from agent.clock import Clock
from agent.config import Secret, load
from agent.errors import NoToken
from agent.sleep.fly_api import FlySocket
from tests.peers.fly_machine import Machine, fly_machine

URL = "https://backend.example"


@dataclass
class Time:
    now: float = 1_000.0
    behind: float = 0.0

    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: self.now, wall=lambda: 1_800_000_000.0 + self.now - self.behind, chance=lambda: 0.5
        )


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with fly_machine(tmp_path) as running, asyncio.timeout(30):
        yield running


@pytest.fixture
def token(machine: Machine, time: Time) -> MachineToken:
    return MachineToken(FlySocket(machine.known), audience=URL, clock=time.clock())


async def reason(token: MachineToken) -> str:
    with pytest.raises(NoToken) as caught:
        await token()
    return str(caught.value)


async def test_it_is_asked_for_once_and_used_until_it_is_due(machine: Machine, token: MachineToken, time: Time) -> None:
    first = await token()
    time.now += 400
    assert await token() is first
    time.now += 100
    assert (await token()).reveal() == machine.issued[1]
    assert len(machine.asked) == 2


async def test_many_requests_at_once_ask_for_one(machine: Machine, token: MachineToken) -> None:
    got = await asyncio.gather(*(token() for _ in range(20)))
    assert len(set(map(id, got))) == len(machine.asked) == 1


async def test_who_can_go_on_with_the_old_one_does_not_wait_for_the_new(
    machine: Machine, token: MachineToken, time: Time
) -> None:
    first = await token()
    time.now += 500
    machine.hangs = True
    async with asyncio.TaskGroup() as group:
        renewing = group.create_task(token())
        await machine.hanging.wait()
        assert await token() is first
        renewing.cancel()
    machine.hangs = False
    assert await token() is not first


async def test_while_the_last_one_stands_a_failure_is_not_noticed_and_the_socket_is_spared(
    machine: Machine, token: MachineToken, time: Time
) -> None:
    first = await token()
    machine.refusal = (500, b'{"error":"broke"}')
    time.now += 500
    assert await token() is first
    assert await token() is first
    assert len(machine.asked) == 2
    time.now += 101
    said = await reason(token)
    assert said.startswith("no key: API_KEY is not set and the machine's own socket did not give a token: ")
    assert "Fly answered 500: broke" in said
    machine.refusal = None
    time.now += 30
    assert await token() is not first


async def test_each_request_without_a_token_fails_but_not_each_one_asks(machine: Machine, token: MachineToken) -> None:
    machine.refusal = (403, b'{"error":"no"}')
    assert len({await reason(token) for _ in range(50)}) == 1
    assert len(machine.asked) == 1


@pytest.mark.parametrize("body", [b"", b'{"token":"x"}', b"<html>", b"a.b.c"])
async def test_what_is_no_token_is_said_to_be_none(machine: Machine, token: MachineToken, body: bytes) -> None:
    machine.body = body
    assert "the answer is not a token" in await reason(token)


async def test_a_machine_whose_clock_is_years_behind_keeps_a_token_no_longer(token: MachineToken, time: Time) -> None:
    time.behind = 1e8
    first = await token()
    time.now += 400
    assert await token() is first
    time.now += 100
    assert await token() is not first


async def test_a_wall_clock_that_is_stepped_after_a_resume_renews_it(token: MachineToken, time: Time) -> None:
    time.behind = 40_000
    first = await token()
    time.now, time.behind = time.now + 3, 0
    assert await token() is not first


async def test_two_requests_whose_token_is_refused_both_get_the_next(machine: Machine, token: MachineToken) -> None:
    first = await token()
    assert token.doubt(first)
    second = await token()
    assert second is not first
    assert token.doubt(first)
    assert await token() is second
    assert not token.doubt(second)
    assert len(machine.asked) == 2


async def test_a_socket_that_is_not_there_is_named(machine: Machine, time: Time) -> None:
    machine.path.unlink()
    said = await reason(MachineToken(FlySocket(machine.known), audience=URL, clock=time.clock()))
    assert f"there is no socket at {machine.path}" in said


async def test_a_key_that_is_set_goes_before_and_elsewhere_than_on_fly_there_is_none(machine: Machine) -> None:
    least = {"APP_ID": "shop", "API_URL": URL + "/"}
    set_key = credential(load({**least, **machine.environ, "API_KEY": "mine"}), Clock(), FlySocket)
    key = await set_key()
    assert isinstance(key, Secret)
    assert key.reveal() == "mine"
    assert await credential(load(least), Clock(), FlySocket)() is None
    await credential(load({**least, **machine.environ}), Clock(), FlySocket)()
    assert machine.asked == [("POST flaps/v1/tokens/oidc", '{"aud":"https://backend.example"}')]
