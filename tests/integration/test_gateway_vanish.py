"""Browsers that leave in the middle, and a gateway that stops in the middle: nothing stays behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent.errors import Occupied
from tests.peers.scripted_server import ScriptedServer, answering, read_head, scripted_server
from tests.peers.standing_gateway import Standing, standing_gateway, status, until


async def nothing_left(standing: Standing, dev: ScriptedServer) -> None:
    await until(lambda: not (standing.gateway._serving or standing.gateway._open or dev.connected))


async def test_who_leaves_before_the_answer_takes_the_request_to_the_dev_server_along() -> None:
    asked = asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        assert await reader.read(-1) == b""  # ends only because the gateway hangs up

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await asked.wait()
        await nothing_left(standing, dev)


async def test_who_leaves_in_the_middle_of_a_stream_ends_it() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        assert await reader.read(-1) == b""

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await raw.until(b"x\r\n")
        await nothing_left(standing, dev)


@pytest.mark.parametrize("how", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
async def test_who_leaves_in_the_middle_of_a_body_ends_the_request(how: bytes) -> None:
    asked = asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + how + b"\r\n\r\n5\r\nhello")
            await asked.wait()
        await nothing_left(standing, dev)


async def test_who_leaves_while_held_is_forgotten() -> None:
    async with scripted_server(answering(b"")) as dev, standing_gateway(dev.port, "restarting") as standing:
        async with standing.connection() as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await until(lambda: bool(standing.gateway._serving))
        await nothing_left(standing, dev)
        assert dev.accepted == 0


async def test_a_hundred_browsers_that_leave_at_random_leave_nothing() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
            await writer.drain()

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:

        async def visit(number: int) -> None:
            async with standing.connection() as raw:
                raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await raw.exactly(1 + number * 2971)

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(visit(number))
        await until(lambda: not (standing.gateway._serving or standing.gateway._open))
        assert standing.gateway._shared is not None
        assert dev.connected <= len(standing.gateway._shared.upstream._idle) + 1


async def test_stopping_does_not_wait_for_streams_and_can_be_done_twice() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await reader.read(-1)

    async with (
        scripted_server(script) as dev,
        standing_gateway(dev.port) as standing,
        standing.connection() as raw,
        standing.connection() as idle,
    ):
        raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await raw.until(b"x\r\n")
        begun = time.monotonic()
        await standing.gateway.stop()
        assert time.monotonic() - begun < 2  # generous: half a second on a machine of its own
        await standing.gateway.stop()
        assert await raw.rest() == b""
        assert await idle.rest() == b""


async def test_a_taken_port_is_named_and_nothing_stays_open() -> None:
    async with scripted_server(answering(b"")) as dev, standing_gateway(dev.port) as standing:
        other = Standing(dev.port)
        with pytest.raises(Occupied, match=f"PORT {dev.port} is taken"):
            await other.gateway.start(dev.port, "127.0.0.1")
        await other.gateway.stop()
        assert standing.gateway.port


async def test_a_stopped_gateway_can_be_started_again() -> None:
    async with scripted_server(answering(b"HTTP/1.1 204 N\r\n\r\n")) as dev, standing_gateway(dev.port) as standing:
        await standing.gateway.stop()
        await standing.gateway.start(0, "127.0.0.1")
        async with standing.connection() as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert status(await raw.head()) == 204
