"""What is served while there is no app, and the streams that keep it true."""

from __future__ import annotations

import asyncio
import re

import orjson
import pytest

from agent.error_line import ErrorLine
from agent.gateway.pages.view import View
from agent.status import DevServerFacts, Failure, InstallFacts, SyncFacts
from tests.peers.scripted_server import answering, read_head, recording, scripted_server
from tests.peers.standing_gateway import Raw, fields, standing_gateway, status, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PAGE = (
    b"GET /shop?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\r\n"
)


def get(target: bytes, more: bytes = b"") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n" + more + b"\r\n"


async def next_view(raw: Raw) -> dict[str, object]:
    event = await raw.until(b"\n\n")
    name, _, data = event.strip().partition(b"\ndata: ")
    assert name == b"event: view"
    seen: dict[str, object] = orjson.loads(data)
    assert set(seen) == {*View.__dataclass_fields__, "elapsed"}
    return seen


async def test_a_navigation_gets_the_waking_page_at_once() -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port, None) as standing:
        head, body = await standing.ask(PAGE)
        seen = fields(head)
        assert status(head) == 503
        assert seen["retry-after"] == "2"
        assert seen["cache-control"] == "no-store"
        assert seen["content-type"] == "text/html; charset=utf-8"
        nonces = set(re.findall(rb'nonce="([^"]+)"', body))
        assert len(nonces) == 1
        assert f"script-src 'nonce-{nonces.pop().decode()}'" in seen["content-security-policy"]
        assert not re.findall(rb"(?:src|href)=", body)  # it asks nobody for anything
        assert b"<h1" in body
        assert dev.accepted == 0
        assert standing.activity == [("navigation", "GET /shop")]


@pytest.mark.parametrize(
    "more",
    [
        b"Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n",
        b"Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n",
        b"RSC: 1\r\nAccept: text/html\r\n",
        b"Accept: application/json\r\n",
    ],
)
async def test_whatever_is_not_shown_as_a_page_is_refused_in_plain_text(more: bytes) -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port, "starting") as standing:
        head, body = await standing.ask(get(b"/thing", more + b"Connection: close\r\n"))
        assert status(head) == 503
        assert fields(head)["retry-after"] == "2"
        assert b"<" not in body


async def test_a_page_for_head_has_its_length_and_no_body() -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port, "starting") as standing:
        head, body = await standing.ask(PAGE.replace(b"GET", b"HEAD"))
        assert int(fields(head)["content-length"]) > 5000
        assert body == b""


async def test_milestones_arrive_as_they_happen_and_readiness_last() -> None:
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port, None) as standing,
        standing.connection() as raw,
    ):
        raw.send(get(b"/__preview/events?path=%2F"))
        seen = fields(await raw.head())
        assert seen["content-type"] == "text/event-stream"
        assert seen["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in seen
        first = await next_view(raw)
        assert first["kind"] == "waking"
        standing.board.sync(SyncFacts(progress=(3, 57)))
        assert b"3 of 57" in orjson.dumps(await next_view(raw))
        standing.becomes("starting", compiling=True)
        assert b'"name":"compile","label":"First compile","state":"active"' in orjson.dumps(await next_view(raw))
        standing.becomes("ready")
        assert (await next_view(raw))["kind"] == "ready"
    assert not standing.activity  # a page that waits shows nobody


async def test_a_page_that_waits_learns_what_only_a_person_can_mend_and_turns_back() -> None:
    error = ErrorLine("Error: Cannot find module 'ms'", "next.config.ts", (), "Add ms to package.json.")
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port, "starting") as standing,
        standing.connection() as raw,
    ):
        raw.send(get(b"/__preview/events?path=%2F"))
        await raw.head()
        assert (await next_view(raw))["kind"] == "waking"
        reason = "npm could not install the packages:\nno such"
        standing.board.install(InstallFacts("failed", "npm", reason=reason, blocks=True))
        failed = await next_view(raw)
        assert (failed["kind"], failed["sentence"]) == ("failed", "no such")
        standing.board.install(InstallFacts("running", "npm"))
        assert (await next_view(raw))["kind"] == "waking"
        standing.becomes("restarting", error=error)
        failed = await next_view(raw)
        assert (failed["sentence"], failed["advice"]) == (error.headline, error.advice)
        head, body = await standing.ask(PAGE)
        assert status(head) == 503
        assert b'<p id="advice" >Add ms to package.json.</p>' in body
        standing.becomes("starting")
        assert (await next_view(raw))["kind"] == "waking"
        standing.becomes("ready")
        assert (await next_view(raw))["kind"] == "ready"


async def test_the_route_on_screen_is_compiled_before_the_app_is_said_to_be_ready() -> None:
    asked: list[bytes] = []
    compiled = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_head(reader))
        await compiled.wait()
        writer.write(OK)
        await reader.read(-1)

    async with (
        scripted_server(script) as dev,
        standing_gateway(dev.port, "starting") as standing,
        standing.connection() as raw,
    ):
        raw.send(get(b"/__preview/events?path=%2Fshop%3Fx%3D1"))
        await raw.head()
        await next_view(raw)
        standing.becomes("ready")
        await until(lambda: bool(asked))
        compiled.set()
        assert (await next_view(raw))["kind"] == "ready"
    assert asked[0].startswith(b"GET /shop?x=1 HTTP/1.1\r\nHost: h\r\n")


@pytest.mark.parametrize("path", [b"%2F__nextjs_restart_dev", b"%2F%20x", b"%2Fx%0D%0AX%3A%20y", b"x", b"%2F", b""])
async def test_a_page_cannot_have_anything_else_asked(path: bytes) -> None:
    heads: list[bytes] = []
    async with (
        scripted_server(recording(OK, heads)) as dev,
        standing_gateway(dev.port, "ready") as standing,
        standing.connection() as raw,
    ):
        raw.send(get(b"/__preview/events?path=" + path))
        await raw.head()
        assert (await next_view(raw))["kind"] == "ready"
    assert not heads


async def test_the_log_is_shown_while_it_is_all_there_is_and_not_afterwards() -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port, "starting") as standing:
        standing.log.write("\x1b[32mready\x1b[0m </script>")
        async with standing.connection() as raw:
            raw.send(get(b"/__preview/log"))
            await raw.head()
            assert await raw.until(b"\n\n") == b'data: ["ready </script>"]\n\n'
            standing.log.write("one more \udcff")
            assert await raw.until(b"\n\n") == b'data: ["one more ?"]\n\n'
        standing.becomes("ready")
        head, _ = await standing.ask(get(b"/__preview/log", b"Connection: close\r\n"))
        assert status(head) == 404


async def test_a_page_in_a_sandboxed_frame_may_ask_too() -> None:
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port, "starting") as standing,
        standing.connection() as raw,
    ):
        raw.send(get(b"/__preview/events", b"Origin: null\r\n"))
        assert fields(await raw.head())["access-control-allow-origin"] == "null"


async def test_a_waiting_page_is_told_when_the_machine_goes_away() -> None:
    async with (
        scripted_server(answering(OK)) as dev,
        standing_gateway(dev.port, "starting") as standing,
        standing.connection() as raw,
    ):
        raw.send(get(b"/__preview/events"))
        await raw.head()
        await next_view(raw)
        await standing.gateway.stop()
        assert await raw.rest() == b"event: gone\ndata: {}\n\n"


async def test_a_wrong_key_is_a_sentence_and_its_proof() -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port, None) as standing:
        failure = Failure("unauthorized", "401: the key is wrong", "2026-01-01T00:00:00.000Z", 3, None)
        standing.board.sync(SyncFacts(state="failing", failure=failure))
        _, body = await standing.ask(PAGE)
        assert b"does not accept this machine&#x27;s key" in body
        assert b"401: the key is wrong." in body
        assert b"unauthorized since 2026-01-01T00:00:00.000Z, 3 tries" in body


async def test_a_failed_page_goes_away_by_itself() -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port, "failed") as standing:
        standing.log.write("Error: bad config")
        async with standing.connection() as raw:
            raw.send(get(b"/__preview/events"))
            await raw.head()
            seen = await next_view(raw)
            assert (seen["kind"], seen["proof"]) == ("failed", ["Error: bad config"])
            standing.board.dev_server(DevServerFacts(state="starting"))
            assert (await next_view(raw))["kind"] == "waking"


@pytest.mark.parametrize("target", [b"/__preview/", b"/__preview/nothing", b"/__preview/events/x"])
async def test_nothing_else_lives_under_the_gateways_own_prefix(target: bytes) -> None:
    async with scripted_server(answering(OK)) as dev, standing_gateway(dev.port) as standing:
        head, _ = await standing.ask(get(target, b"Connection: close\r\n"))
        assert status(head) == 404
        assert dev.accepted == 0
