"""Where one WebSocket frame ends and the next begins (RFC 6455, 5.2), without reading what is in them.

A tunnel passes a socket's bytes on untouched. Only between two frames may the gateway put in one of its own: a ping,
to learn whether anybody is still there, and the close that says the server goes away.
"""

from __future__ import annotations

PING = b"\x89\x00"
AWAY = 1001
"""The status of a side that goes away (RFC 6455, 7.4.1)."""


def close(status: int, reason: bytes = b"") -> bytes:
    """A server's close frame. `reason`: 123 bytes at most."""
    payload = status.to_bytes(2, "big") + reason
    return bytes((0x88, len(payload))) + payload


class FrameScanner:
    """A bodies.Scanner, fed with everything that one side sends."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0

    @property
    def done(self) -> bool:
        return False

    @property
    def between(self) -> bool:
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
                self._left = _payload(self._head)
                self._head.clear()
        return at


def _head_size(head: bytearray) -> int:
    """Bytes of the head that begins like this; 2 until the second byte tells."""
    if len(head) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)


def _payload(head: bytearray) -> int:
    short = head[1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(head[2 : 4 if short == 126 else 10], "big")
