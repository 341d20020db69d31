"""Requests that cannot be read, that never end, or that are not for outsiders: each gets a clear status."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agent.gateway import connection, server
from tests.peers.scripted_server import answering, read_head, recording, scripted_server
from tests.peers.standing_gateway import Standing, fields, standing_gateway, status, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def works(standing: Standing) -> bool:
    head, body = await standing.ask(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    return (status(head), body) == (200, b"ok")


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: line\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET http:///x y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET relative HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT other.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT /path HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 100_000, 431),
        (b"GET /" + b"x" * 8_000_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 300 + b"\r\n", 431),
    ],
)
async def test_what_cannot_be_read_is_refused_and_the_connection_closed(request_head: bytes, expected: int) -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port) as standing:
        head, body = await standing.ask(request_head)
        assert status(head) == expected
        assert fields(head)["connection"] == "close"
        assert fields(head)["content-type"] == "text/plain; charset=utf-8"
        assert body.endswith(b"\n")
        assert dev.accepted == 0
        assert await works(standing)


async def test_a_head_may_come_in_single_bytes() -> None:
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port) as standing,
        standing.connection() as raw,
    ):
        for byte in b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n":
            raw.send(bytes([byte]))
            await raw.writer.drain()
            await asyncio.sleep(0.001)  # so that each arrives on its own
        assert status(await raw.head()) == 200


async def test_a_request_hidden_behind_a_broken_body_is_never_seen() -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        heads.append(await reader.read(-1))

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        hidden = b"5\r\nhelloGET /secret HTTP/1.1\r\nHost: a\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            _, body = await standing.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden)
            assert body == b""
    assert dev.accepted == 1
    assert b"secret" not in b"".join(heads)


async def test_a_head_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(b"GET / HTTP/1.1\r\nX-")
            head = await raw.head()
            assert status(head) == 408
        async with standing.connection() as raw:
            assert await raw.rest() == b""  # who says nothing at all is told nothing


async def test_a_body_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.http.proxy.UPLOAD_SECONDS", 0.2)

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
            with contextlib.suppress(ConnectionError):
                assert await raw.rest() == b""
        async with asyncio.timeout(5):
            await dev.ended.wait()


async def test_one_connection_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MOST", 2)
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as first, standing.connection() as second:
            for raw in (first, second):
                raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                assert status(await raw.head()) == 200
            head, _ = await standing.ask(b"")
            assert status(head) == 503
        await until(lambda: not standing.gateway._serving)
        assert await works(standing)


async def test_what_is_for_developers_at_the_machine_is_not_there_for_others() -> None:
    heads: list[bytes] = []
    async with scripted_server(recording(OK, heads)) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            for target in (
                b"/_next/mcp",
                b"/_next/%6dcp",
                b"//_next/mcp",
                b"http://elsewhere/_next/mcp",
                b"/_next/static/..%2fmcp",
                b"/x/..\\__nextjs_restart_dev",
                b"//host/__nextjs_launch-editor?file=/etc/passwd",
                b"/%255f_nextjs_attach-nodejs-inspector",
            ):
                raw.send(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
                head = await raw.head()
                assert status(head) == 404, target
                await raw.exactly(int(fields(head)["content-length"]))
        assert not heads
        assert not standing.activity


@pytest.mark.parametrize(
    "answer",
    [
        b"Unauthorized",
        b"",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
)
async def test_a_dev_server_that_talks_nonsense_is_a_bad_gateway(answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        head, body = await standing.ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert status(head) == 502
        assert body.startswith(b"the dev server failed: ")


async def test_a_dev_server_that_ends_its_lines_in_its_own_way_is_not_waited_for() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        head, _ = await standing.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert status(head) == 502


async def test_interim_answers_without_end_wait_for_a_browser_that_does_not_read() -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"x" * 10_000 + b">\r\n\r\n")
            await writer.drain()
            sent += 10_000

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await until(lambda: sent > 0)
            before = -1
            while before < sent:  # until the sender is made to wait, or has sent far more than any buffer holds
                before = sent
                assert sent < 100_000_000
                await asyncio.sleep(0.3)
        await until(lambda: not dev.connected)


async def test_a_dev_server_that_says_nothing_is_a_late_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.http.proxy.RESPONSE_SECONDS", 0.2)

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        head, _ = await standing.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert status(head) == 504
