"""The gateway's own WebSocket: its frames, what a page may say over it, and who may open it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.websocket.frames import (
    TEXT_LIMIT,
    BadFrame,
    Close,
    FrameReader,
    Ping,
    Pong,
    Text,
    close_frame,
    handshake_accept,
    pong_frame,
    text_frame,
)
from agent.gateway.websocket.page_messages import (
    Hidden,
    Input,
    Shown,
    UnknownMessage,
    is_allowed_origin,
    page_path,
    parse_signal,
)

SAMPLE = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"}


def masked(first: int, payload: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((first,)) + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def test_the_handshake_is_the_one_of_the_standard() -> None:
    assert handshake_accept(SAMPLE) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3


@pytest.mark.parametrize(
    "wrong",
    [
        {"sec-websocket-key": "short"},
        {"sec-websocket-key": ""},
        {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ"},
        {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="},
        {"sec-websocket-version": "8"},
    ],
)
def test_what_is_no_handshake_is_none(wrong: dict[str, str]) -> None:
    assert handshake_accept(SAMPLE | wrong) is None


FRAMES = st.one_of(
    st.binary(max_size=TEXT_LIMIT).map(lambda data: (masked(0x81, data), Text(data))),
    st.binary(max_size=125).map(lambda data: (masked(0x89, data), Ping(data))),
    st.binary(max_size=125).map(lambda data: (masked(0x8A, data), Pong())),
    st.integers(1000, 4999).map(lambda code: (masked(0x88, code.to_bytes(2, "big") + b"why"), Close(code))),
    st.just((masked(0x88, b""), Close(None))),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(0, 300), max_size=6))
def test_frames_are_read_the_same_however_they_arrive(
    frames: list[tuple[bytes, Text | Ping | Pong | Close]], cuts: list[int]
) -> None:
    raw = b"".join(data for data, _ in frames)
    edges = [0, *sorted(min(at, len(raw)) for at in cuts), len(raw)]
    reader = FrameReader()
    read = [frame for a, b in pairwise(edges) for frame in reader.feed(raw[a:b])]
    assert read == [expected for _, expected in frames]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (masked(0xC1, b"x"), 1002),  # compressed
        (masked(0x01, b"x"), 1003),  # a fragment
        (masked(0x80, b"x"), 1003),
        (masked(0x82, b"x"), 1003),  # binary
        (masked(0x83, b"x"), 1002),
        (masked(0x81, b"x" * 65), 1009),
        (masked(0x81, b"x" * 200), 1009),
        (b"\x81\xff", 1009),  # said to be enormous: refused before a byte of it came
        (masked(0x89, b"x" * 126), 1002),
        (masked(0x09, b"x"), 1002),
        (masked(0x88, b"x"), 1002),
    ],
)
def test_a_broken_rule_is_answered_with_its_status(raw: bytes, status: int) -> None:
    with pytest.raises(BadFrame) as caught:
        FrameReader().feed(raw)
    assert caught.value.status == status


@given(st.binary(max_size=200))
def test_no_bytes_are_held_for_long(data: bytes) -> None:
    reader = FrameReader()
    try:
        reader.feed(data)
    except BadFrame:
        return
    assert len(reader._held) < 6 + 125


def test_what_the_gateway_says_is_a_frame() -> None:
    assert text_frame(b"sleep") == b"\x81\x05sleep"
    assert pong_frame(b"a") == b"\x8a\x01a"
    assert close_frame(1001) == b"\x88\x02\x03\xe9"
    assert close_frame(1001, b"asleep") == b"\x88\x08\x03\xe9asleep"


@pytest.mark.parametrize(
    ("message", "meaning"),
    [(b"visible", Shown()), (b"hidden", Hidden()), (b"input key", Input("key")), (b"input touch", Input("touch"))],
)
def test_a_page_says_one_of_a_few_things(message: bytes, meaning: object) -> None:
    assert parse_signal(message) == meaning


@given(st.binary(max_size=64))
def test_anything_else_is_not_understood(message: bytes) -> None:
    if message not in {b"visible", b"hidden"} and not message.startswith(b"input "):
        with pytest.raises(UnknownMessage):
            parse_signal(message)


@pytest.mark.parametrize(
    ("origin", "more", "expected"),
    [
        ("https://a.example", {}, True),
        ("http://A.example", {}, True),
        ("null", {}, True),
        (None, {}, False),
        ("https://b.example", {}, False),
        ("https://a.example.b.example", {}, False),
        ("https://a.example:8443", {}, False),
        ("file://a.example", {}, False),
        ("", {}, False),
        ("https://", {"host": ""}, False),
        ("https://outside.example", {"x-forwarded-host": "outside.example, a.example"}, True),
    ],
)
def test_only_pages_of_this_preview_speak(origin: str | None, more: dict[str, str], expected: bool) -> None:  # noqa: FBT001
    headers = {"host": "a.example"} | more | ({} if origin is None else {"origin": origin})
    assert is_allowed_origin(headers) == expected


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/__preview/live?path=%2Fabout%2Fus", "/about/us"),
        ("/__preview/live", "/"),
        ("/__preview/live?path=about", "/"),
        ("/__preview/live?path=%2Fa%0A%1Bb", "/ab"),
        ("/__preview/live?path=%2F" + "x" * 500, "/" + "x" * 199),
    ],
)
def test_a_page_names_its_path(target: str, path: str) -> None:
    assert page_path(target) == path
