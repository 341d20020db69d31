"""Backends that are slow rather than wrong: what drips for ever ends, and what cannot hold a request is polled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from agent.sync import poll_policy
from agent.sync.loop import Timing
from agent.sync.protocol import client as backend_module
from tests.peers.backend_client import Place, syncing
from tests.peers.backend_faulty import FaultyBackend, drips, says
from tests.peers.backend_honest import serving

PAGE = "app/page.tsx"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_an_answer_that_drips_for_ever_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(backend_module, "ANSWER_SECONDS", 0.2)
    backend = FaultyBackend(drips(b'{"filepath": "' + b"a" * 10_000, 0.02))
    backend.put({PAGE: "1"})
    async with serving(backend), syncing(place, backend) as client:
        await client.failed()
        assert client.failures() == ["unreachable"]

        await client.until_on_disk()


async def test_an_answer_that_falls_silent_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "SILENCE_SECONDS", 0.2)
    backend = FaultyBackend(drips(b"{{", 600))
    backend.put({PAGE: "1"})
    async with serving(backend), syncing(place, backend) as client:
        await client.failed()
        assert client.messages() == ["the backend did not answer in time"]

        await client.until_on_disk()


async def test_a_proxy_that_cuts_held_requests_off_is_polled(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_policy, "SHORTEST_HOLD", 0.05)
    backend = FaultyBackend()
    backend.put({PAGE: "1"})

    async def impatient(request: web.Request, backend: FaultyBackend) -> web.StreamResponse:
        try:
            async with asyncio.timeout(0.1):
                return await backend.honest(request)
        except TimeoutError:
            return web.Response(status=504)

    backend.always = impatient
    async with serving(backend), syncing(place, backend) as client:
        await client.until(lambda c: c.facts.state == "failing")
        await client.until(lambda c: c.facts.state == "current")
        await backend.asked(len(backend.seen) + 5)

        assert len(client.failures()) == poll_policy.BROKEN_HOLDS
        backend.put({PAGE: "2"})
        await client.until_on_disk()
        assert len(client.failures()) == poll_policy.BROKEN_HOLDS
        assert "Prefer" not in backend.seen[-1].headers


async def test_a_stop_does_not_wait_for_a_held_request(place: Place) -> None:
    backend = FaultyBackend()
    backend.put({PAGE: "1"})
    async with serving(backend):
        async with asyncio.timeout(5), syncing(place, backend, timing=Timing(3600, 3600)) as client:
            await client.until_on_disk()
            await backend.asked(2)
        assert not place.recorded().unclean


@pytest.mark.parametrize("code", [500, 401])
async def test_a_failure_is_over_with_the_next_answer_and_not_with_the_end_of_a_hold(place: Place, code: int) -> None:
    backend = FaultyBackend()
    backend.put({PAGE: "1"})
    async with serving(backend), syncing(place, backend, timing=Timing(3600, 3600)) as client:
        await client.until_on_disk()
        await backend.asked(2)
        backend.script.append(says(code))
        client.sync.poll_now()
        await client.failed()
        await client.until(lambda c: c.facts.state == "current")
        assert client.problems == ()

        backend.put({PAGE: "2"})  # and the one after it is held again
        await client.until_on_disk()
