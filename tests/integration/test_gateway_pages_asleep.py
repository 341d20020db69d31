"""Open pages, and how they are told that the machine goes to sleep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from agent.gateway.shared import PAGES_MOST
from tests.peers.scripted_server import answering, read_head, scripted_server
from tests.peers.standing_gateway import Standing, fields, standing_gateway, status, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIVE = (
    b"GET /__preview/live?path=/shop HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
ASLEEP = b"\x88\x08\x03\xe9asleep"


@asynccontextmanager
async def gateway() -> AsyncIterator[tuple[Standing, aiohttp.ClientSession]]:
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port) as standing,
        aiohttp.ClientSession() as session,
    ):
        yield standing, session


async def page(
    standing: Standing, session: aiohttp.ClientSession, path: str = "/shop"
) -> aiohttp.ClientWebSocketResponse:
    address = f"http://127.0.0.1:{standing.gateway.port}"
    return await session.ws_connect(f"{address}/__preview/live?path={path}", origin=address)


async def test_a_page_on_screen_and_its_person_are_noticed() -> None:
    async with gateway() as (standing, session):
        one = await page(standing, session)
        await one.send_str("input key")  # nobody can have used a page that nobody saw
        await one.send_str("visible")
        await one.send_str("input key")
        await until(lambda: standing.activity == [("shown", "/shop"), ("input", "key")])
        assert standing.attended == [True, True]
        assert standing.gateway.pages == (1, 0)
        two = await page(standing, session, "/about")
        await two.send_str("hidden")
        await one.send_str("hidden")
        await until(lambda: standing.gateway.pages == (0, 2))
        await one.close()
        two._response.connection.transport.abort()  # type: ignore[union-attr]  # a laptop that lost its power
        await until(lambda: standing.gateway.pages == (0, 0))
        assert len(standing.activity) == 2


async def test_a_request_has_somebody_behind_it_while_a_page_is_on_screen_or_when_the_browser_says_so() -> None:
    async with gateway() as (standing, session):
        fetch = b"GET /api HTTP/1.1\r\nHost: h\r\nSec-Fetch-Mode: cors\r\nConnection: close\r\n%b\r\n"
        navigation = fetch.replace(b"cors", b"navigate")
        await standing.ask(fetch % b"")
        await standing.ask(fetch % b"Sec-Fetch-User: ?1\r\n")
        await standing.ask(navigation % b"")
        await standing.ask(navigation % b"Sec-Fetch-User: ?1\r\n")
        assert standing.attended == [False, False, False, True]
        one = await page(standing, session)
        await one.send_str("visible")
        await until(lambda: standing.gateway.pages == (1, 0))
        await standing.ask(fetch % b"")
        assert standing.attended[-1]
        assert standing.activity[-1] == ("app_request", "GET /api")


@pytest.mark.parametrize(
    ("more", "expected"),
    [(b"", 403), (b"Origin: http://evil.example\r\n", 403), (b"Origin: http://h\r\nSec-WebSocket-Version: 8\r\n", 400)],
)
async def test_strangers_are_refused(more: bytes, expected: int) -> None:
    async with gateway() as (standing, _):
        assert status((await standing.ask(LIVE % more))[0]) == expected


@pytest.mark.parametrize("origin", [b"http://h", b"null"])
async def test_the_previews_own_pages_are_let_in_also_from_a_sandboxed_frame(origin: bytes) -> None:
    async with gateway() as (standing, _), standing.connection() as raw:
        raw.send(LIVE % (b"Origin: %b\r\n" % origin))
        head = await raw.head()
        assert status(head) == 101
        assert fields(head)["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("said", "code"),
    [("hello", 1008), ("input nose", 1008), ("x" * 65, 1009), ("x" * 100_000, 1009), (b"visible", 1003)],
)
async def test_who_says_anything_else_is_shown_out(said: str | bytes, code: int) -> None:
    async with gateway() as (standing, session):
        one = await page(standing, session)
        await (one.send_bytes(said) if isinstance(said, bytes) else one.send_str(said))
        message = await one.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code)
        await until(lambda: standing.gateway.pages == (0, 0))
    assert not standing.activity


async def test_there_are_only_so_many_pages() -> None:
    async with gateway() as (standing, session):
        _kept = [await page(standing, session) for _ in range(PAGES_MOST)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await page(standing, session)
        assert caught.value.status == 503


async def test_a_silent_page_is_asked_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.websocket.live_endpoint.PING_SECONDS", 0.1)
    async with gateway() as (standing, _), standing.connection() as raw:
        raw.send(LIVE % b"Origin: http://h\r\n")
        await raw.head()
        for _ in range(4):  # more than enough to be given up, had it been silent
            assert await raw.exactly(2) == b"\x89\x00"
            raw.send(b"\x8a\x80abcd")
        await until(lambda: standing.gateway.pages == (0, 0))


async def test_every_page_is_told_and_waited_for() -> None:
    async with gateway() as (standing, session):
        pages = [await page(standing, session) for _ in range(3)]
        standing.board.sleeping()
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(standing.gateway.put_pages_to_sleep(20))
            for one in pages:
                assert await one.receive_str(timeout=10) == "sleep"
            for one in pages[:2]:
                await one.close()
            with pytest.raises(TimeoutError):
                await pages[2].receive(timeout=0.3)  # who is still going is not cut off
            await pages[2].close()
        assert leaving.result() == 3
        assert await standing.gateway.put_pages_to_sleep(20) == 0  # nobody is left to wait for


async def test_a_page_that_stays_is_closed_and_the_gateway_goes_on() -> None:
    async with gateway() as (standing, session):
        one = await page(standing, session)
        assert await standing.gateway.put_pages_to_sleep(0.1) == 1
        assert await one.receive_str(timeout=10) == "sleep"
        message = await one.receive(timeout=10)
        assert (message.data, message.extra) == (1001, "asleep")
        assert standing.gateway.pages == (0, 0)
        assert await standing.ask(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        again = await page(standing, session)
        await again.send_str("visible")
        await until(lambda: standing.gateway.pages == (1, 0))


async def test_who_comes_while_another_page_stays_keeps_its_socket() -> None:
    async with gateway() as (standing, session):
        stays = await page(standing, session)
        standing.board.sleeping()
        async with asyncio.TaskGroup() as group:
            group.create_task(standing.gateway.put_pages_to_sleep(0.5))
            assert await stays.receive_str(timeout=10) == "sleep"
            comes = await page(standing, session)
            await comes.send_str("visible")
        assert (await stays.receive(timeout=10)).extra == "asleep"
        assert standing.gateway.pages == (1, 0)


async def test_a_page_that_was_being_loaded_is_told_when_it_is_there_unless_somebody_sees_it() -> None:
    async with gateway() as (standing, session):
        standing.board.sleeping()
        assert await standing.gateway.put_pages_to_sleep(0.1) == 0
        seen, hidden = await page(standing, session), await page(standing, session)
        await seen.send_str("visible")
        await hidden.send_str("hidden")
        assert await hidden.receive_str(timeout=10) == "sleep"
        with pytest.raises(TimeoutError):
            await seen.receive(timeout=0.3)  # for its sake the hand-over is called off


async def test_an_answer_counts_until_it_is_whole_and_an_assets_never() -> None:
    go_on = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK[:-1])
        await go_on.wait()
        writer.write(OK[-1:])

    async with (
        scripted_server(script) as dev,
        standing_gateway(dev.port) as standing,
        standing.connection() as stream,
        standing.connection() as asset,
    ):
        for raw, path in ((stream, b"/api"), (asset, b"/movie.mp4")):
            raw.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            await raw.head()
        assert standing.gateway.answering == 1
        go_on.set()
        await stream.exactly(2)
        await until(lambda: standing.gateway.answering == 0)


async def _quiet_sockets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(SWITCH)
    await reader.read(-1)


HMR = LIVE.replace(b"/__preview/live?path=/shop", b"/_next/hmr?id=1") % b""


async def test_sockets_of_the_app_end_with_the_reason() -> None:
    async with (
        scripted_server(_quiet_sockets) as dev,
        standing_gateway(dev.port) as standing,
        standing.connection() as raw,
    ):
        raw.send(HMR)
        await raw.head()
        assert await standing.gateway.put_pages_to_sleep(5) == 0
        assert await raw.rest() == ASLEEP
        await until(lambda: not dev.connected)


@pytest.mark.parametrize(("sleeping", "last"), [(True, ASLEEP), (False, b"\x88\x02\x03\xe9")])
async def test_a_gateway_that_stops_says_whether_it_is_for_sleep(sleeping: bool, last: bytes) -> None:  # noqa: FBT001
    async with (
        scripted_server(_quiet_sockets) as dev,
        standing_gateway(dev.port) as standing,
        standing.connection() as hmr,
        standing.connection() as live,
    ):
        for raw, request in ((hmr, HMR), (live, LIVE % b"Origin: http://h\r\n")):
            raw.send(request)
            await raw.head()
        if sleeping:
            standing.board.sleeping()
        await standing.gateway.stop()
        assert await hmr.rest() == last
        assert await live.rest() == last


async def test_a_waking_page_is_told_that_the_machine_sleeps() -> None:
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port, "starting") as standing,
        standing.connection() as raw,
    ):
        raw.send(b"GET /__preview/events HTTP/1.1\r\nHost: h\r\n\r\n")
        await raw.head()
        await raw.until(b"\n\n")
        await standing.gateway.put_pages_to_sleep(5)
        assert (await raw.rest()).endswith(b"event: gone\ndata: {}\n\n")


ASK = b"GET /__preview/asleep?to=%b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nSec-Fetch-Mode: navigate\r\n\r\n"


async def test_the_asleep_page_is_silent_and_knows_where_it_leads() -> None:
    async with gateway() as (standing, _):
        standing.board.sleeping()
        head, body = await standing.ask(ASK % b"%2Fshop%3Fa%3D1%26b%3D%2522%23there")
        seen = fields(head)
        assert (status(head), seen["cache-control"]) == (200, "no-store")
        assert b'data-to="/shop?a=1&amp;b=%22#there"' in body
        assert "connect-src" not in seen["content-security-policy"]
        assert seen["content-security-policy"].startswith("default-src 'none'; ")
        for word in (b"http-equiv", b"EventSource", b"fetch(", b"WebSocket(", b"setTimeout", b"setInterval"):
            assert word not in body
        head, body = await standing.ask(ASK % b"%2F%2Fevil.example")
        assert b'data-to="/"' in body
    assert not standing.activity


async def test_the_asleep_page_of_a_machine_that_is_awake_leads_back_at_once() -> None:
    async with gateway() as (standing, _):
        head, _ = await standing.ask(ASK % b"%2Fshop%3Fa%3D1%23there")
        assert (status(head), fields(head)["location"]) == (303, "/shop?a=1#there")
        head, _ = await standing.ask(ASK % b"https%3A%2F%2Fevil.example")
        assert fields(head)["location"] == "/"
    assert not standing.activity


async def test_what_goes_to_the_dev_server_and_comes_back_is_noticed() -> None:
    answer = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await answer.wait()
        writer.write(OK)
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing, standing.connection() as raw:
        began = standing.gateway.last_exchange
        raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: dev.connected == 1)
        asked = standing.gateway.last_exchange
        assert asked > began
        answer.set()
        await raw.head()
        assert standing.gateway.last_exchange > asked
        quiet = standing.gateway.last_exchange
        await standing.ask(b"GET /__preview/nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert standing.gateway.last_exchange == quiet


async def test_after_a_resume_the_dev_server_is_dialled_anew() -> None:
    async with gateway() as (standing, _), standing.connection() as raw:
        for expected in (1, 1, 2):
            if expected == 2:
                standing.gateway.drop_idle_connections()
            raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await raw.until(b"\r\n\r\nok")
            assert standing.gateway._shared is not None
            assert len(standing.gateway._shared.upstream._idle) == 1


async def test_what_the_dev_server_still_says_after_the_farewell_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    go_on = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await go_on.wait()
        writer.write(b"\x81\x04late")
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing, standing.connection() as raw:
        raw.send(HMR)
        await raw.head()
        async with asyncio.TaskGroup() as group:
            group.create_task(standing.gateway.put_pages_to_sleep(5))
            assert await raw.exactly(len(ASLEEP)) == ASLEEP
            go_on.set()
        await until(lambda: not dev.connected)
    assert not caplog.records
