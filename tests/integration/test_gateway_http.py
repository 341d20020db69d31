"""What passes through the gateway, byte for byte, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from tests.peers.scripted_server import answering, read_head, recording, scripted_server
from tests.peers.standing_gateway import fields, standing_gateway, status, until

GET = b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"


async def test_an_answer_passes_as_it_was_written() -> None:
    answer = (
        b"HTTP/1.1 203 Fine By Me\r\nx-Odd-CASE: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        b'Content-Encoding: gzip\r\nETag: W/"x"\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff'
    )
    async with (
        scripted_server(answering(answer)) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(GET)
        head, body = await raw.head(), await raw.exactly(4)
    assert head + b"\r\n\r\n" + body == answer


async def test_a_request_passes_with_its_target_and_its_fields_in_order() -> None:
    heads: list[bytes] = []
    script = recording(b"HTTP/1.1 204 No Content\r\n\r\n", heads)
    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(
            b"GET /a%2Fb//c/../d?x=%20&y=[1] HTTP/1.1\r\nB: 2\r\nHost: h:81\r\na: 1\r\nAccept-Encoding: br\r\n\r\n"
        )
        assert status(await raw.head()) == 204
    lines = heads[0].split(b"\r\n")
    assert lines[:5] == [
        b"GET /a%2Fb//c/../d?x=%20&y=[1] HTTP/1.1",
        b"B: 2",
        b"Host: h:81",
        b"a: 1",
        b"Accept-Encoding: br",
    ]
    assert b"X-Forwarded-For: 127.0.0.1" in lines
    assert b"X-Forwarded-Host: h:81" in lines
    assert b"X-Forwarded-Proto: http" in lines


@pytest.mark.parametrize(
    ("request_line", "answer_head"),
    [
        (b"HEAD / HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: text/html"),
        (b"HEAD / HTTP/1.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 204 No Content"),
    ],
)
async def test_answers_without_a_body_leave_the_connection_usable(request_line: bytes, answer_head: bytes) -> None:
    answer = answer_head + b"\r\n\r\n"
    async with scripted_server(answering(answer)) as server, standing_gateway(server.port) as standing:
        async with standing.connection() as raw:
            for _ in range(2):
                raw.send(request_line + b"\r\nHost: h\r\n\r\n")
                assert await raw.head() + b"\r\n\r\n" == answer
        assert server.accepted == 1


async def test_chunks_extensions_and_trailers_pass_as_they_are() -> None:
    body = b"3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nServer-Timing: db;dur=3\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTrailer: Server-Timing\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    async with (
        scripted_server(answering(answer)) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        for _ in range(2):
            raw.send(GET)
            await raw.head()
            assert await raw.exactly(len(body)) == body


async def test_a_streamed_answer_arrives_piece_by_piece() -> None:
    go_on = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await go_on.wait()
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        go_on.clear()
        await go_on.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(GET)
        await raw.head()
        go_on.set()
        assert await raw.until(b"\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        go_on.set()
        assert await raw.until(b"0\r\n\r\n") == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"


async def test_an_answer_that_ends_with_its_connection_ends_the_browsers_too() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with scripted_server(script) as server, standing_gateway(server.port) as standing:
        head, body = await standing.ask(GET)
    assert fields(head)["connection"] == "close"
    assert body == b"all of it"


async def test_an_answer_that_is_cut_off_is_cut_off_for_the_browser() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()

    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(GET)
        await raw.head()
        assert await raw.exactly(10) == b"5\r\nhello\r\n"
        with contextlib.suppress(ConnectionError):  # a reset says it as well as an early end
            assert await raw.rest() == b""


async def test_interim_answers_reach_the_browser() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nKeep-Alive: 5\r\n\r\n"
    answer = hint + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with (
        scripted_server(answering(answer)) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(GET)
        assert await raw.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload"
        assert status(await raw.head()) == 200


async def test_who_asks_before_sending_a_body_is_told_by_the_dev_server() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"Expect: 100-continue" in await read_head(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(5) == b"hello"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert await raw.head() == b"HTTP/1.1 100 Continue"
        raw.send(b"hello")
        assert status(await raw.head()) == 200
        assert await raw.exactly(2) == b"ok"


async def test_an_answer_may_come_before_the_body_was_read() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await reader.read(-1)

    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000)
        assert status(await raw.head()) == 413
        assert await raw.rest() == b"no"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_waits_for_a_slow_reader_and_arrives_whole(*, chunked: bool) -> None:
    """Back-pressure upstream: nothing near the body's 32 MiB is ever kept in between."""
    size, piece = 32 * 2**20, b"u" * 2**16
    wire = (b"%x\r\n%b\r\n" % (len(piece), piece)) if chunked else piece
    count = size // len(piece)
    total = len(wire) * count + (5 if chunked else 0)
    go_on = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        got = 0
        while got < total:
            got += len(await reader.read(2**20))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % total
    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + length + b"\r\n\r\n")

        async def upload() -> None:
            for _ in range(count):
                raw.send(wire)
                await raw.writer.drain()
            if chunked:
                raw.send(b"0\r\n\r\n")

        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            sending = group.create_task(upload())
            await until(lambda: server.accepted == 1)
            _, still = await asyncio.wait({sending}, timeout=0.5)
            assert still, "the whole body left the browser although nobody reads it"
            (client,) = standing.gateway._serving
            assert len(client.buffer) < 2**20
            go_on.set()
        assert status(await raw.head()) == 200


async def test_a_large_answer_waits_for_a_slow_browser_and_arrives_whole() -> None:
    piece, count = b"d" * 2**16, 512
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            writer.write(piece)
            await writer.drain()
            sent += 1

    async with scripted_server(script) as server, standing_gateway(server.port) as standing:
        link = socket.create_connection(("127.0.0.1", standing.gateway.port))
        link.setblocking(False)  # noqa: FBT003  the standard library has no name for it
        loop = asyncio.get_running_loop()
        with link:
            await loop.sock_sendall(link, GET)
            before = -1
            while before != sent or not sent:  # until it stands still
                before = sent
                await asyncio.sleep(0.2)
            assert sent < count, "the answer was collected somewhere"
            got = 0
            async with asyncio.timeout(30):
                while got < len(piece) * count:
                    data = await loop.sock_recv(link, 2**20)
                    assert data
                    got += len(data)


async def test_an_old_browser_gets_an_answer_it_can_read() -> None:
    heads: list[bytes] = []
    script = recording(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", heads)
    async with scripted_server(script) as server, standing_gateway(server.port) as standing:
        head, body = await standing.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert body == b"ok"
    assert fields(head)["connection"] == "close"
    assert heads[0].startswith(b"GET / HTTP/1.0\r\n")  # so that Next does not answer in chunks


async def test_a_redirect_to_the_dev_servers_own_port_leads_back_through_the_gateway() -> None:
    async with scripted_server(answering(b"")) as server, standing_gateway(server.port) as standing:
        location = b"https://localhost:%d/about?x=1" % server.port
        server.script = answering(b"HTTP/1.1 307 T\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
        head, _ = await standing.ask(LAST)
    assert fields(head)["location"] == "/about?x=1"


async def test_origin_goes_where_next_would_refuse_it_and_stays_where_actions_need_it() -> None:
    heads: list[bytes] = []
    script = recording(b"HTTP/1.1 204 N\r\n\r\n", heads)
    async with (
        scripted_server(script) as server,
        standing_gateway(server.port) as standing,
        standing.connection() as raw,
    ):
        for path in (b"/_next/static/a.js", b"/__nextjs_font/a.woff2", b"/docs/_next/static/a.js", b"/about"):
            raw.send(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\nOrigin: https://editor.example\r\n\r\n")
            await raw.head()
    assert [b"Origin: https://editor.example" in head for head in heads] == [False, False, False, True]
