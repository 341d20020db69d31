"""Message bodies: where one ends, by its length, by its chunks, or with the connection (RFC 9112, 6 and 7.1). Pure.

The gateway forwards a body's bytes unchanged, chunk extensions and trailers included, and only has to know which byte
is the last. Chunk sizes have to be plain hexadecimal digits and lines have to end in CR LF: if this reader were more
lenient than the server behind it, the two would disagree on where the next request begins (request smuggling).
"""

from __future__ import annotations

import re
from typing import Literal, Protocol, assert_never

from agent.gateway.http.heads import BadMessage, Body, Chunked, Length, UntilClose


class Scanner(Protocol):
    """Finds the end of a body in bytes that arrive in pieces of any size."""

    @property
    def done(self) -> bool: ...

    def feed(self, data: bytes | bytearray) -> int:
        """How many bytes at the start of `data` belong to the body: all, unless it has ended. Raises BadMessage."""
        ...


def scanner_for(body: Body) -> Scanner:
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


LINE_LIMIT = 16 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")

ChunkState = Literal["size", "data", "after data", "trailers", "done"]


class ChunkScanner:
    def __init__(self) -> None:
        self._state: ChunkState = "size"
        self._left = 0
        self._line = bytearray()
        self._trailers = 0

    @property
    def done(self) -> bool:
        return self._state == "done"

    @property
    def left(self) -> int:
        """How many of the next bytes are content: the rest of the current chunk, 0 between chunks."""
        return self._left if self._state == "data" else 0

    def feed(self, data: bytes | bytearray) -> int:
        at = 0
        while at < len(data) and self._state != "done":
            if self._state == "data":
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                if not self._left:
                    self._state = "after data"
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            at = end or len(data)
            if len(self._line) > LINE_LIMIT:
                raise BadMessage("a line between two chunks is too long")
            if end:
                self._parse_line(bytes(self._line))
                self._line.clear()
        return at

    def _parse_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise BadMessage("a line between two chunks does not end in CR LF")
        text = line[:-2]
        if self._state == "size":
            found = _SIZE.fullmatch(text)
            if not found:
                raise BadMessage("a chunk size is not a hexadecimal number")
            self._left = int(found[1], 16)
            self._state = "data" if self._left else "trailers"
        elif self._state == "after data":
            if text:
                raise BadMessage("a chunk is longer than its size")
            self._state = "size"
        elif not text:
            self._state = "done"
        else:
            self._trailers += len(line)
            if not _TRAILER.fullmatch(text) or self._trailers > LINE_LIMIT:
                raise BadMessage("a trailer is not a name, a colon and a value, or the trailers are too long")
