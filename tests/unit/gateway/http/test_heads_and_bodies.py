"""Reading and writing message heads, and where bodies end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.http.bodies import ChunkScanner
from agent.gateway.http.heads import (
    NO_BODY,
    BadMessage,
    Chunked,
    Length,
    UntilClose,
    parse_request,
    parse_response,
    serialize_request,
    serialize_response,
    values,
)
from agent.gateway.websocket.frames import FrameScanner

NAME = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True)
VALUE = st.binary(max_size=40).filter(lambda raw: not any(byte < 32 or byte == 127 for byte in raw)).map(bytes.strip)
SPECIAL = {b"host", b"content-length", b"transfer-encoding", b"connection"}
FIELDS = st.lists(st.tuples(NAME.filter(lambda name: name.lower() not in SPECIAL), VALUE), max_size=20).map(tuple)


@given(FIELDS)
def test_a_head_survives_reading_and_writing(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    raw = serialize_request("GET", "/a?b", "1.1", ((b"Host", b"h"), *fields))
    assert parse_request(raw[:-4]).fields == ((b"Host", b"h"), *fields)
    raw = serialize_response(200, b"OK", fields)
    assert parse_response(raw[:-4], method="GET").fields == fields


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_stumble(raw: bytes) -> None:
    for read in (parse_request, lambda data: parse_response(data, method="GET")):
        try:
            read(raw)
        except BadMessage as error:
            assert error.status in {400, 431, 501, 505}  # noqa: PT017  anything else escapes and fails the test


@pytest.mark.parametrize(
    ("target", "upstream"),
    [
        (b"/", "/"),
        (b"/a%2fb?c#d", "/a%2fb?c#d"),
        (b"//a", "//a"),
        (b"http://h", "/"),
        (b"HTTPS://user@h:1/a?b", "/a?b"),
        (b"http://h?b", "/?b"),
        ("/ü".encode(), "/Ã¼"),
    ],
)
def test_a_target_goes_on_as_a_path(target: bytes, upstream: str) -> None:
    assert parse_request(b"GET " + target + b" HTTP/1.1\r\nHost: h").target == upstream


@pytest.mark.parametrize(
    ("request_line", "host"),
    [
        (b"GET http://other.example:81/x HTTP/1.1", b"other.example:81"),
        (b"GET http://user:word@other.example HTTP/1.1", b"other.example"),
        (b"GET http://[::1]:80/ HTTP/1.0", b"[::1]:80"),
        (b"GET /x HTTP/1.1", b"h"),
    ],
)
def test_the_host_of_an_absolute_target_counts_for_more(request_line: bytes, host: bytes) -> None:
    head = parse_request(request_line + b"\r\nA: b\r\nHost: h")
    assert values(head.fields, b"host") == [host]
    assert values(head.fields, b"a") == [b"b"]


def test_a_whole_server_may_be_asked_for_its_options_only() -> None:
    assert parse_request(b"OPTIONS * HTTP/1.1\r\nHost: h").target == "*"
    with pytest.raises(BadMessage):
        parse_request(b"GET * HTTP/1.1\r\nHost: h")


def test_the_body_behind_a_request() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h"
    assert parse_request(head).body == NO_BODY
    assert parse_request(head + b"\r\nContent-Length: 007").body == Length(7)
    assert parse_request(head + b"\r\nTransfer-Encoding: Chunked").body == Chunked()


@pytest.mark.parametrize(
    ("method", "head", "body", "keeps"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5", Length(5), True),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close", Length(5), False),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 5", Length(5), False),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive", Length(5), True),
        ("GET", b"HTTP/1.1 200", UntilClose(), False),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 5", Chunked(), True),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", UntilClose(), False),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5", NO_BODY, True),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", NO_BODY, True),
        ("GET", b"HTTP/1.1 204 No Content", NO_BODY, True),
        ("GET", b"HTTP/1.1 103 Early Hints", NO_BODY, True),
    ],
)
def test_the_body_behind_an_answer(
    method: str,
    head: bytes,
    body: Length | Chunked | UntilClose,
    keeps: bool,  # noqa: FBT001
) -> None:
    answer = parse_response(head, method=method)
    assert (answer.body, answer.keep_alive) == (body, keeps)


CHUNK = st.binary(min_size=1, max_size=40).map(lambda data: b'%x;a="b"\r\n%b\r\n' % (len(data), data))
TRAILERS = st.lists(st.tuples(NAME, VALUE).map(lambda field: b"%b: %b\r\n" % field), max_size=3).map(b"".join)


@given(st.lists(CHUNK, max_size=6).map(b"".join), TRAILERS, st.binary(max_size=20), st.integers(1, 30))
def test_a_chunked_body_ends_where_it_ends_however_it_arrives(
    chunks: bytes, trailers: bytes, behind: bytes, step: int
) -> None:
    body = chunks + b"0\r\n" + trailers + b"\r\n"
    whole, scanner, taken = body + behind, ChunkScanner(), 0
    for at in range(0, len(whole), step):
        piece = whole[at : at + step]
        taken += scanner.feed(piece)
        assert scanner.done == (at + step >= len(body))
        if scanner.done:
            break
    assert taken == len(body)


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"0x5\r\nhello\r\n",
        b"-1\r\n",
        b"\r\n",
        b"5\nhello\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhelloX\n",
        b"5;\x00\r\n",
        b"1" * 16 + b"\r\n",
        b"0\r\nno trailer\r\n",
        b"0\r\n" + b"a: b\r\n" * 4000,
        b"5" + b";x" * 10_000,
    ],
)
def test_a_chunked_body_that_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(BadMessage):
        ChunkScanner().feed(body)


SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536])
STEPS = st.sampled_from([1, 2, 3, 5, 7, 1000, 65_536, 200_000])


def frame(size: int, masked: bool) -> bytes:  # noqa: FBT001
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x82, mask | size])
    elif size < 65_536:
        head = bytes([0x82, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x82, mask | 127]) + size.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + b"\x89" * size


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=4), STEPS)
def test_a_socket_is_between_two_frames_exactly_at_their_ends(frames: list[tuple[int, bool]], step: int) -> None:
    wire, ends = b"", {0}
    for size, masked in frames:
        wire += frame(size, masked)
        ends.add(len(wire))
    scanner = FrameScanner()
    for at in range(0, len(wire), step):
        assert scanner.at_boundary == (at in ends)
        scanner.feed(wire[at : at + step])
    assert scanner.at_boundary
