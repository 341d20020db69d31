"""The script's tag in the app's pages, through the real gateway: what is changed, and that nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from tests.peers.scripted_server import Script, answering, read_head, recording, scripted_server
from tests.peers.standing_gateway import fields, standing_gateway, status

TAG = b'<script src="/__preview/shim.js"></script>'
PAGE = b"<!doctype html><html><head><title>a</title></head><body>b</body></html>"
TAGGED = PAGE.replace(b"<head>", b"<head>" + TAG)
NAVIGATE = b"Host: h\r\nSec-Fetch-Mode: navigate\r\nAccept-Encoding: gzip, br\r\n"
GET = b"GET / HTTP/1.1\r\n" + NAVIGATE + b"\r\n"
LAST = b"GET / HTTP/1.1\r\n" + NAVIGATE + b"Connection: close\r\n\r\n"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"


def sized(body: bytes, more: bytes = b"") -> bytes:
    return HTML + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_a_page_of_known_length_grows_by_the_tag_and_the_connection_goes_on() -> None:
    heads: list[bytes] = []
    answer = recording(sized(PAGE, b'ETag: "a"\r\nX-App: b\r\n'), heads)
    async with scripted_server(answer) as dev, standing_gateway(dev.port) as standing, standing.connection() as raw:
        for _ in range(3):
            raw.send(GET)
            head = await raw.head()
            assert int(fields(head)["content-length"]) == len(TAGGED)
            assert "etag" not in fields(head)
            assert fields(head)["x-app"] == "b"
            assert await raw.exactly(len(TAGGED)) == TAGGED
    assert dev.accepted == 1
    for asked in heads:
        assert asked.lower().count(b"accept-encoding") == 1
        assert b"\r\nAccept-Encoding: identity\r\n" in asked


async def test_what_is_no_navigation_passes_byte_for_byte() -> None:
    heads: list[bytes] = []
    answer = sized(PAGE, b'ETag: "a"\r\n')
    async with scripted_server(recording(answer, heads)) as dev, standing_gateway(dev.port) as standing:
        for request in (
            LAST.replace(b"navigate", b"cors"),
            LAST.replace(b"GET /", b"GET /_next/static/x.html"),
            LAST.replace(b"GET", b"PUT"),
        ):
            head, body = await standing.ask(request)
            assert head + b"\r\n\r\n" + body == answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert all(b"\r\nAccept-Encoding: gzip, br\r\n" in asked for asked in heads)


async def test_a_streamed_page_is_shown_as_it_comes() -> None:
    first, rest = PAGE.split(b"<title>")
    go_on = asyncio.Event()
    tail = b"4\r\nmore\r\n0\r\nX-Trailer: a\r\n\r\n"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        start = b"".join(b"1\r\n%c\r\n" % byte for byte in first)
        writer.write(HTML + b"Transfer-Encoding: chunked\r\n\r\n" + start)
        await go_on.wait()
        writer.write(b"%x\r\n<title>%b\r\n" % (len(rest) + 7, rest) + tail)
        await read_head(reader)
        writer.write(sized(PAGE))
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing, standing.connection() as raw:
        raw.send(GET)
        assert fields(await raw.head())["transfer-encoding"] == "chunked"
        seen = await raw.until(TAG)
        assert seen.endswith(b"\r\n%x\r\n>" % (1 + len(TAG)) + TAG)
        go_on.set()
        assert await raw.until(b"X-Trailer: a\r\n\r\n") == b"\r\n%x\r\n<title>%b\r\n" % (len(rest) + 7, rest) + tail
        raw.send(GET)  # the framing was right: the connection takes another request
        assert status(await raw.head()) == 200


async def test_a_page_that_ends_with_the_connection_gets_the_tag_too() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(HTML + b"\r\n" + PAGE)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing:
        assert (await standing.ask(GET))[1] == TAGGED


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (LAST.replace(b"GET", b"HEAD"), sized(PAGE).replace(PAGE, b"")),
        (LAST.replace(b"HTTP/1.1", b"HTTP/1.0"), sized(PAGE)),
        (LAST, sized(PAGE, b"Content-Encoding: gzip\r\n")),
        (LAST, sized(PAGE).replace(b"200 OK", b"206 Partial Content")),
        (LAST, sized(PAGE).replace(b"text/html", b"text/plain")),
        (LAST, sized(b"no tags here", b'ETag: "a"\r\n')),
        (LAST, sized(b"", b'ETag: "a"\r\n')),
        (LAST, HTML.replace(b"200 OK", b"304 Not Modified") + b'ETag: "a"\r\n\r\n'),
    ],
)
async def test_what_has_no_place_for_it_passes_untouched(request_: bytes, answer: bytes) -> None:
    async with scripted_server(answering(answer)) as dev, standing_gateway(dev.port) as standing:
        head, body = await standing.ask(request_)
        assert head + b"\r\n\r\n" + body == answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def test_an_interim_answer_comes_before_the_page() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    async with scripted_server(answering(early + sized(PAGE))) as dev, standing_gateway(dev.port) as standing:
        head, rest = await standing.ask(LAST)
        assert status(head) == 103
        assert rest.endswith(b"\r\n\r\n" + TAGGED)


async def test_a_page_that_is_slow_to_begin_comes_without_the_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.gateway.http.proxy.INSERT_SECONDS", 0.1)
    shown = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(HTML + b"Content-Length: %d\r\n\r\n<!doctype" % len(PAGE))
        await shown.wait()
        writer.write(PAGE[9:])
        await reader.read(-1)

    async with scripted_server(script) as dev, standing_gateway(dev.port) as standing, standing.connection() as raw:
        raw.send(GET)
        assert int(fields(await raw.head())["content-length"]) == len(PAGE)
        shown.set()
        assert await raw.exactly(len(PAGE)) == PAGE


def breaking(start: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(HTML + start)

    return script


@pytest.mark.parametrize(
    "start", [b"Content-Length: 500\r\n\r\n<!doc", b"Transfer-Encoding: chunked\r\n\r\n5\r\n<!doc\r\n"]
)
async def test_a_page_that_breaks_off_early_never_looks_whole(start: bytes) -> None:
    async with scripted_server(breaking(start)) as dev, standing_gateway(dev.port) as standing:
        head, body = await standing.ask(GET)
        assert "content-length" not in fields(head) or len(body) < int(fields(head)["content-length"])
        assert not body.endswith(b"0\r\n\r\n")


async def test_a_page_whose_chunks_cannot_be_read_is_a_bad_gateway() -> None:
    start = b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    async with scripted_server(breaking(start)) as dev, standing_gateway(dev.port) as standing:
        head, _ = await standing.ask(GET)
        assert status(head) == 502


async def test_the_script_is_served_and_kept_for_a_while() -> None:
    async with scripted_server(answering(b"")) as dev, standing_gateway(dev.port, "starting") as standing:
        ask = b"GET /__preview/shim.js HTTP/1.1\r\nHost: h\r\n%bConnection: close\r\n\r\n"
        head, body = await standing.ask(ask % b"")
        seen = fields(head)
        assert (status(head), seen["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert seen["x-content-type-options"] == "nosniff"
        assert "max-age" in seen["cache-control"]
        assert int(seen["content-length"]) == len(body)
        head, body = await standing.ask(ask % b"If-None-Match: %b\r\n" % seen["etag"].encode())
        assert (status(head), body) == (304, b"")
        assert not standing.activity


@pytest.mark.parametrize("target", [b"shim.js", b"asleep?to=/"])
async def test_a_body_that_nobody_wants_is_not_taken_for_the_next_request(target: bytes) -> None:
    async with scripted_server(answering(b"")) as dev, standing_gateway(dev.port) as standing:
        hidden = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
        ask = b"GET /__preview/%b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (target, len(hidden), hidden)
        head, _ = await standing.ask(ask)
        assert fields(head)["connection"] == "close"
        assert dev.accepted == 0
        assert not standing.activity
