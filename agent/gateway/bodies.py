"""Where a body ends (RFC 9112, 6), whichever way its head said it.

The gateway passes a body's bytes on as they came and only has to know which one is the last.
"""

from __future__ import annotations

from typing import Protocol, assert_never

from agent.gateway.chunked import ChunkScanner
from agent.gateway.http1 import Body, Chunked, Length, UntilClose


class Scanner(Protocol):
    """Fed with bytes in whatever pieces they arrive. `feed` says how many at the start of `data` belong to what is
    scanned: all of them unless it ended. It may raise BadMessage.
    """

    @property
    def done(self) -> bool: ...

    def feed(self, data: bytes | bytearray) -> int: ...


def scanner(body: Body) -> Scanner:
    match body:
        case Length(size):
            return LengthScanner(size)
        case Chunked():
            return ChunkScanner()
        case UntilClose():
            return EndlessScanner()
        case _:
            assert_never(body)


class LengthScanner:
    def __init__(self, size: int) -> None:
        self._left = size

    @property
    def done(self) -> bool:
        return not self._left

    def feed(self, data: bytes | bytearray) -> int:
        taken = min(self._left, len(data))
        self._left -= taken
        return taken


class EndlessScanner:
    @property
    def done(self) -> bool:
        return False

    def feed(self, data: bytes | bytearray) -> int:
        return len(data)
