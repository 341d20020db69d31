"""Which connections are used again, on both sides, and which are not."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.peers.scripted_server import answering, read_head, scripted_server
from tests.peers.standing_gateway import fields, standing_gateway, status, until

GET = b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"


async def test_connections_to_the_dev_server_are_used_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n\r\nok"
    async with scripted_server(answering(answer)) as server, standing_gateway(server.port) as standing:
        for _ in range(5):
            head, _ = await standing.ask(LAST)
            assert "keep-alive" not in fields(head)
        assert server.accepted == 1


async def test_a_kept_connection_that_was_closed_meanwhile_costs_nobody_an_answer() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        with contextlib.suppress(asyncio.IncompleteReadError):
            await read_head(reader)  # and hangs up on the second one

    async with scripted_server(script) as server, standing_gateway(server.port) as standing:
        for _ in range(3):
            head, body = await standing.ask(LAST)
            assert (status(head), body) == (200, b"ok")


@pytest.mark.parametrize(
    ("fields_of_answer", "behind"),
    [(b"Connection: close\r\n", b""), (b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")],
)
async def test_a_connection_is_not_used_again_once_the_dev_server_said_otherwise(
    fields_of_answer: bytes, behind: bytes
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + fields_of_answer + b"\r\nok")
        await asyncio.sleep(0.05)  # what comes behind comes on its own
        writer.write(behind)
        await reader.read(-1)

    async with scripted_server(script) as server, standing_gateway(server.port) as standing:
        for _ in range(2):
            head, body = await standing.ask(LAST)
            assert (status(head), body) == (200, b"ok")
            await asyncio.sleep(0.1)
        assert server.accepted == 2


async def test_a_request_that_must_not_be_sent_twice_gets_a_connection_of_its_own() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with scripted_server(script) as server, standing_gateway(server.port) as standing:
        for _ in range(2):
            await standing.ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await standing.ask(b"DELETE / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert server.accepted == 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_head(reader)).split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(9)))
        for number in range(9):
            await raw.head()
            assert await raw.exactly(2) == b"/%d" % number


async def test_a_request_right_behind_a_streamed_body_is_not_lost() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            if (await read_head(reader)).startswith(b"POST"):
                await reader.readexactly(5)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe")
        await until(lambda: server.accepted == 1)
        raw.send(b"llo" + GET)
        for _ in range(2):
            assert status(await raw.head()) == 200


async def test_a_kept_connection_goes_when_the_dev_server_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.http.upstream.IDLE_SECONDS", 60.0)  # so that it is not its age
    hang_up = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await hang_up.wait()

    async with scripted_server(script) as server, standing_gateway(server.port) as standing:
        await standing.ask(LAST)
        front = standing.gateway._shared
        assert front is not None
        assert len(front.upstream._idle) == 1
        hang_up.set()
        await until(lambda: not front.upstream._idle)
