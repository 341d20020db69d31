"""WebSocket frames (RFC 6455): boundaries in a tunnel, and whole messages on the gateway's own socket. Pure.

`FrameScanner` finds where frames end without reading their payload. A tunnel forwards an app's socket unchanged, and
the gateway may insert a ping or a close frame only between two frames.

`FrameReader` reads the browser's frames on /__preview/live, whose messages are a few bytes of text. It is strict,
because only the gateway's own script uses that socket: an unmasked, unknown, fragmented or overlong frame raises
BadFrame with the close status that RFC 6455 assigns.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from agent.errors import AgentError

PING = b"\x89\x00"
GOING_AWAY = 1001
"""The close status of an endpoint that is shutting down (RFC 6455, 7.4.1)."""


def close_frame(status: int, reason: bytes = b"") -> bytes:
    """A close frame from the server. `reason`: 123 bytes at most."""
    payload = status.to_bytes(2, "big") + reason
    return bytes((0x88, len(payload))) + payload


class FrameScanner:
    """A bodies.Scanner for all bytes of one direction."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0

    @property
    def done(self) -> bool:
        return False

    @property
    def at_boundary(self) -> bool:
        return not self._head and not self._left

    def feed(self, data: bytes | bytearray) -> int:
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            self._head.append(data[at])
            at += 1
            size = _head_size(self._head)
            if len(self._head) == size:
                self._left = _payload_size(self._head)
                self._head.clear()
        return at


def _head_size(head: bytearray) -> int:
    """The size of the frame head that begins with these bytes; 2 until the second byte is known."""
    if len(head) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)


def _payload_size(head: bytearray) -> int:
    short = head[1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(head[2 : 4 if short == 126 else 10], "big")


TEXT_LIMIT = 64
"""The longest message in bytes."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class BadFrame(AgentError):
    """A frame that is not allowed here. `status` is the close status (RFC 6455, 7.4.1)."""

    code: ClassVar[str] = "bad_frame"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Text:
    data: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    pass


@dataclass(frozen=True, slots=True)
class Close:
    status: int | None


Frame = Text | Ping | Pong | Close


def handshake_accept(headers: Mapping[str, str]) -> bytes | None:
    """Sec-WebSocket-Accept for a handshake with these (lower-case) headers; None if it is invalid (RFC 6455, 4.2.1)."""
    key = headers.get("sec-websocket-key", "")
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(nonce) != 16 or headers.get("sec-websocket-version") != "13":
        return None
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())


def text_frame(data: bytes) -> bytes:
    """A text message of at most 125 bytes as a frame from the server."""
    return bytes((0x80 | _TEXT, len(data))) + data


def pong_frame(data: bytes) -> bytes:
    return bytes((0x80 | _PONG, len(data))) + data


class FrameReader:
    """Parses a browser's frames from bytes that arrive in pieces. Buffers at most one unfinished frame."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes | bytearray) -> list[Frame]:
        """The frames that are complete now. Raises BadFrame."""
        self._held += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        held = self._held
        if len(held) < 2:
            return None
        opcode, size = held[0] & 0x0F, held[1] & 0x7F
        _check(held[0], opcode, size, masked=bool(held[1] & 0x80))
        if len(held) < 6 + size:
            return None
        mask, masked = held[2:6], held[6 : 6 + size]
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        del held[: 6 + size]
        match opcode:
            case 0x1:
                return Text(payload)
            case 0x8:
                return Close(int.from_bytes(payload[:2], "big") if size >= 2 else None)
            case 0x9:
                return Ping(payload)
            case _:
                return Pong()


def _check(first: int, opcode: int, size: int, *, masked: bool) -> None:
    if first & 0x70:
        raise BadFrame("reserved bits are set without a negotiated extension", status=1002)
    if not masked:
        raise BadFrame("the frame is not masked", status=1002)
    if opcode in {0x0, 0x2}:
        raise BadFrame("only unfragmented text is accepted", status=1003)
    if opcode not in {_TEXT, _CLOSE, _PING, _PONG}:
        raise BadFrame("unknown opcode", status=1002)
    if opcode == _TEXT and size > TEXT_LIMIT:
        raise BadFrame(f"the message is longer than {TEXT_LIMIT} bytes", status=1009)
    if not first & 0x80:
        raise BadFrame("the message is fragmented", status=1003 if opcode == _TEXT else 1002)
    if size > 125 or (opcode == _CLOSE and size == 1):
        raise BadFrame("the control frame has an invalid size", status=1002)
