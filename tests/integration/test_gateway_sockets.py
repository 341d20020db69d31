"""WebSockets through the gateway: handshakes that always get an answer, tunnels that change nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import aiohttp
import pytest
from aiohttp import web

from tests.peers.scripted_server import read_head, scripted_server
from tests.peers.standing_gateway import Standing, standing_gateway, status, until

UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@contextlib.asynccontextmanager
async def echo_server():  # type: ignore[no-untyped-def]  # a generator of a port and what was seen
    seen: list[tuple[str, int | None]] = []

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=("graphql-ws",))
        await ws.prepare(request)
        async for message in ws:
            if message.data == "close me":
                await ws.close(code=4001, message=b"as you wish")
            elif isinstance(message.data, bytes):
                await ws.send_bytes(message.data)
            else:
                await ws.send_str(message.data)
        seen.append((request.path, ws.close_code))
        return ws

    application = web.Application()
    application.router.add_get("/{path:.*}", echo)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], seen
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("path", ["/_next/hmr?id=1", "/_next/webpack-hmr", "/api/socket"])
async def test_messages_of_every_size_pass_both_ways(path: str) -> None:
    async with echo_server() as (port, _), standing_gateway(port) as standing, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{standing.gateway.port}{path}"
        async with session.ws_connect(url, protocols=("graphql-ws",), max_msg_size=0) as ws:
            assert ws.protocol == "graphql-ws"
            for size in (0, 1, 125, 126, 65_535, 65_536, 3_000_000):
                await ws.send_bytes(b"b" * size)
                assert len(await ws.receive_bytes(timeout=20)) == size
            await ws.send_str("päng")
            assert await ws.receive_str(timeout=20) == "päng"


async def test_close_codes_pass_both_ways() -> None:
    async with echo_server() as (port, seen), standing_gateway(port) as standing, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{standing.gateway.port}/api/socket"
        async with session.ws_connect(url) as ws:
            await ws.send_str("close me")
            message = await ws.receive(timeout=20)
            assert (ws.close_code, message.extra) == (4001, "as you wish")
        async with session.ws_connect(url) as ws:
            await ws.close(code=4002)
        await until(lambda: len(seen) == 2)
        assert seen[1] == ("/api/socket", 4002)


async def test_only_what_an_app_opens_counts_as_activity() -> None:
    async with echo_server() as (port, _), standing_gateway(port) as standing, aiohttp.ClientSession() as session:
        for path in ("/_next/hmr", "/_next/webpack-hmr", "/api/socket"):
            async with session.ws_connect(f"http://127.0.0.1:{standing.gateway.port}{path}"):
                pass
    assert standing.activity == [("app_request", "GET /api/socket")]


async def test_a_stopping_gateway_closes_sockets_with_1001() -> None:
    async with echo_server() as (port, _), standing_gateway(port) as standing, aiohttp.ClientSession() as session:
        sockets = [
            await session.ws_connect(f"http://127.0.0.1:{standing.gateway.port}/_next/hmr?id={number}")
            for number in range(20)
        ]
        async with asyncio.timeout(5):
            await standing.gateway.stop()
            for ws in sockets:
                message = await ws.receive()
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)


async def half_a_frame(standing: Standing) -> bytes:
    async with standing.connection() as raw:
        raw.send(UPGRADE % b"/socket")
        assert status(await raw.head()) == 101
        await raw.exactly(5)
        await standing.gateway.stop()
        return await raw.rest()


async def test_no_frame_is_put_into_the_middle_of_another() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH + b"\x82\x7d123")
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        assert await half_a_frame(standing) == b""


async def test_frames_right_behind_the_handshake_are_not_lost() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        writer.write(SWITCH + b"\x81\x02hi")
        assert await reader.readexactly(6) == b"\x81\x80abcd"
        writer.write(b"\x81\x03bye")

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing, standing.connection() as raw:
        raw.send(UPGRADE % b"/socket" + b"\x81\x80abcd")
        assert (await raw.head()) + b"\r\n\r\n" == SWITCH
        assert await raw.rest() == b"\x81\x02hi\x81\x03bye"


async def test_a_handshake_that_nobody_answers_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.websocket.tunnel.HANDSHAKE_SECONDS", 0.2)

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        head, _ = await standing.ask(UPGRADE % b"/unknown")
        assert status(head) == 504


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"Unauthorized", 502),
        (b"", 502),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
        (b"HTTP/1.1 426 Upgrade Required\r\n\r\nno", 426),
    ],
)
async def test_a_refused_handshake_is_an_ordinary_answer(answer: bytes, expected: int) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        head, body = await standing.ask(UPGRADE % b"/_next/hmr")
        assert status(head) == expected
        assert expected == 502 or body == b"no"


async def test_an_unknown_protocol_is_not_offered_to_the_dev_server() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"upgrade" not in head.lower()
        assert b"http2-settings" not in head.lower()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing, standing.connection() as raw:
        raw.send(
            b"GET / HTTP/1.1\r\nHost: h\r\n"
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n"
        )
        assert status(await raw.head()) == 200


async def test_a_silent_browser_is_asked_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.websocket.tunnel.PING_SECONDS", 0.1)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(UPGRADE % b"/_next/hmr")
            await raw.head()
            for _ in range(4):  # more than enough to be given up, had it been silent
                assert await raw.exactly(2) == b"\x89\x00"
                raw.send(b"\x8a\x80abcd")
            assert await raw.exactly(2) == b"\x89\x00"
            with contextlib.suppress(ConnectionError):
                assert set(await raw.rest()) <= {0x89, 0x00}
        await until(lambda: not dev.connected)


async def test_a_socket_that_nobody_reads_makes_the_dev_server_wait() -> None:
    frame = b"\x82\x7f" + (2**16).to_bytes(8, "big") + b"x" * 2**16
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(SWITCH)
        for _ in range(512):
            writer.write(frame)
            await writer.drain()
            sent += 1
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        link = socket.create_connection(("127.0.0.1", standing.gateway.port))
        link.setblocking(False)  # noqa: FBT003  the standard library has no name for it
        loop = asyncio.get_running_loop()
        with link:
            await loop.sock_sendall(link, UPGRADE % b"/socket")
            before = -1
            while before != sent or not sent:  # until it stands still
                before = sent
                await asyncio.sleep(0.2)
            assert sent < 512, "the messages were collected somewhere"
            got = 0
            async with asyncio.timeout(30):
                while got < len(SWITCH) + 512 * len(frame):
                    got += len(await loop.sock_recv(link, 2**20))


async def test_a_browser_that_leaves_ends_the_socket_upstream_and_the_other_way_round() -> None:
    hang_up = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        if hang_up.is_set():
            return
        assert await reader.read(-1) == b""

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        async with standing.connection() as raw:
            raw.send(UPGRADE % b"/_next/hmr")
            await raw.head()
        await until(lambda: not dev.connected)
        hang_up.set()
        async with standing.connection() as raw:
            raw.send(UPGRADE % b"/_next/hmr")
            await raw.head()
            assert await raw.rest() == b""
