"""A dev server that is away for a moment: requests wait for it, within limits, instead of failing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from agent.gateway import connection
from tests.peers.scripted_server import answering, read_head, scripted_server
from tests.peers.standing_gateway import fields, standing_gateway, status

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
PAGE = b"GET /about HTTP/1.1\r\nHost: h\r\nSec-Fetch-Mode: navigate\r\nConnection: close\r\n\r\n"
FETCH = b"GET /api HTTP/1.1\r\nHost: h\r\nSec-Fetch-Mode: cors\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "request_head", [PAGE, FETCH, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"]
)
async def test_a_refused_port_is_waited_for(request_head: bytes, free_port: Callable[[], int]) -> None:
    """Next restarts itself when next.config changes, and nobody else may have noticed yet."""
    port = free_port()
    async with standing_gateway(port) as standing, asyncio.TaskGroup() as group:
        asking = group.create_task(standing.ask(request_head))
        _, pending = await asyncio.wait({asking}, timeout=0.3)
        assert pending
        async with scripted_server(answering(OK), port):
            head, body = await asking
    assert (status(head), body) == (200, b"ok")


async def test_a_known_restart_is_waited_for_by_whatever_is_no_page() -> None:
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port, "restarting") as standing,
        asyncio.TaskGroup() as group,
    ):
        asking = group.create_task(standing.ask(FETCH))
        _, pending = await asyncio.wait({asking}, timeout=0.3)
        assert pending
        assert dev.accepted == 0
        standing.becomes("starting", restarts=1)
        _, pending = await asyncio.wait({asking}, timeout=0.2)
        assert pending
        standing.becomes("ready")
        head, _ = await asking
    assert status(head) == 200


async def test_the_wait_ends_with_the_waking_page_or_a_plain_refusal(
    monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setattr(connection, "HOLD_SECONDS", 0.3)
    async with standing_gateway(free_port()) as standing:
        head, body = await standing.ask(PAGE)
        assert status(head) == 503
        assert b"Waking up your preview" in body
        head, body = await standing.ask(FETCH)
        assert status(head) == 503
        assert fields(head)["retry-after"] == "2"
        assert fields(head)["content-type"] == "text/plain; charset=utf-8"


async def test_a_held_request_learns_at_once_that_the_dev_server_gave_up(free_port: Callable[[], int]) -> None:
    async with standing_gateway(free_port()) as standing, asyncio.TaskGroup() as group:
        asking = group.create_task(standing.ask(PAGE))
        await asyncio.wait({asking}, timeout=0.2)
        standing.becomes("failed", reason="it crashed 5 times")
        head, body = await asking
    assert status(head) == 503
    assert b"It crashed 5 times." in body


async def test_a_dev_server_that_dies_over_a_page_is_asked_again() -> None:
    """A memory kill in the middle of the first compile: the page comes from the next life."""
    tries = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        await read_head(reader)
        tries += 1
        if tries > 2:
            writer.write(OK)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        head, _ = await standing.ask(PAGE)
    assert (status(head), tries) == (200, 3)


async def test_a_dev_server_that_dies_over_a_change_is_not_asked_again() -> None:
    tries = 0

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal tries
        await read_head(reader)
        tries += 1

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        head, _ = await standing.ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert (status(head), tries) == (502, 1)
        with contextlib.suppress(ConnectionError):
            head, _ = await standing.ask(PAGE)
        assert (status(head), tries) == (502, 1 + connection.TRIES)
