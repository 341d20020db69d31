"""Where a chunked body ends (RFC 9112, 7.1), without taking it apart.

The gateway passes the bytes on as they came, extensions and trailers included, and only has to know which byte is
the last. Sizes are hexadecimal digits and nothing else, lines end in CR LF: what is read here one way is read that
way by everybody.
"""

from __future__ import annotations

import re
from typing import Literal

from agent.gateway.http1 import BadMessage

LINE_LIMIT = 16 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")

Part = Literal["size", "data", "after data", "trailers", "done"]


class ChunkScanner:
    """A bodies.Scanner."""

    def __init__(self) -> None:
        self._part: Part = "size"
        self._left = 0
        self._line = bytearray()
        self._trailers = 0

    @property
    def done(self) -> bool:
        return self._part == "done"

    @property
    def left(self) -> int:
        """How many of the next bytes are content: what the chunk they are in still has, 0 outside of chunks."""
        return self._left if self._part == "data" else 0

    def feed(self, data: bytes | bytearray) -> int:
        at = 0
        while at < len(data) and self._part != "done":
            if self._part == "data":
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                if not self._left:
                    self._part = "after data"
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            at = end or len(data)
            if len(self._line) > LINE_LIMIT:
                raise BadMessage("a line between two chunks is too long")
            if end:
                self._read(bytes(self._line))
                self._line.clear()
        return at

    def _read(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise BadMessage("a line between two chunks does not end in CR LF")
        text = line[:-2]
        if self._part == "size":
            found = _SIZE.fullmatch(text)
            if not found:
                raise BadMessage("a chunk does not begin with its size")
            self._left = int(found[1], 16)
            self._part = "data" if self._left else "trailers"
        elif self._part == "after data":
            if text:
                raise BadMessage("a chunk is longer than its size")
            self._part = "size"
        elif not text:
            self._part = "done"
        else:
            self._trailers += len(line)
            if not _TRAILER.fullmatch(text) or self._trailers > LINE_LIMIT:
                raise BadMessage("a trailer is not a name, a colon and a value, or they are too long")
