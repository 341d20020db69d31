"""A process's output as lines: splitting it, keeping the last lines, following new ones, and limiting what is logged.

Invariants: memory is bounded whatever the child prints (a line, the tail, a follower's buffer), and a follower never
blocks the child: one that reads too slowly loses lines, and gets a line with their number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from weakref import WeakSet

from agent.text import plain

LINES_KEPT = 1000
LINES_AHEAD = 500
LINES_PER_SECOND = 100
LINE_BYTES = 8 * 1024
CUT = " … (cut)"


class LineSplitter:
    """Turns chunks of bytes into lines of text, without terminal codes, and cut at LINE_BYTES."""

    def __init__(self) -> None:
        self._open = bytearray()
        self._cutting = False

    def feed(self, chunk: bytes) -> list[str]:
        *ended, rest = chunk.split(b"\n")
        lines = [line for part in ended if (line := self._end(part)) is not None]
        self._add(rest)
        return lines

    def finish(self) -> list[str]:
        """The last line, if the output did not end with a newline."""
        line = self._end(b"") if self._open else None
        return [] if line is None else [line]

    def _add(self, part: bytes) -> None:
        room = LINE_BYTES - len(self._open)
        self._cutting = self._cutting or len(part) > room
        self._open += part[:room]

    def _end(self, part: bytes) -> str | None:
        self._add(part)
        # A terminal shows the text after the last carriage return: a progress bar's newest state.
        shown = plain(self._open.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]).rstrip()
        line = shown + CUT if self._cutting else shown
        blank_by_codes = not line and bool(self._open)
        self._open.clear()
        self._cutting = False
        return None if blank_by_codes else line


class LineRateLimit:
    """Limits the lines that go to the agent's own log to LINES_PER_SECOND, after a burst of LINES_KEPT. Log storage
    costs the operator money, and its reader may be slow.
    """

    def __init__(self) -> None:
        self._left = float(LINES_KEPT)
        self._at: float | None = None
        self._dropped = 0

    def allows(self, now: float) -> bool:
        if self._at is not None:
            self._left = min(float(LINES_KEPT), self._left + (now - self._at) * LINES_PER_SECOND)
        self._at = now
        if self._left < 1:
            self._dropped += 1
            return False
        self._left -= 1
        return True

    def take_dropped(self) -> int:
        """How many lines were refused since the last call."""
        count, self._dropped = self._dropped, 0
        return count


class LogTail:
    """Keeps the last lines and passes new ones to followers. Only for the loop's own thread."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=LINES_KEPT)
        self._followers: WeakSet[_Follower] = WeakSet()  # weak, because a follower that is never read is never closed

    def add(self, line: str) -> None:
        self._kept.append(line)
        for follower in self._followers:
            follower.add(line)

    def lines(self) -> list[str]:
        return list(self._kept)

    def follow(self) -> AsyncGenerator[str, None]:
        """The lines from this call on, without end. Close it (`contextlib.aclosing`) when done."""
        follower = _Follower()
        self._followers.add(follower)
        return self._read(follower)

    async def _read(self, follower: _Follower) -> AsyncGenerator[str, None]:
        try:
            while True:
                for line in await follower.take():
                    yield line
        finally:
            self._followers.discard(follower)


class _Follower:
    def __init__(self) -> None:
        self._ahead: deque[str] = deque(maxlen=LINES_AHEAD)
        self._lost = 0
        self._more = asyncio.Event()

    def add(self, line: str) -> None:
        self._lost += len(self._ahead) == LINES_AHEAD
        self._ahead.append(line)
        self._more.set()

    async def take(self) -> list[str]:
        await self._more.wait()
        lines = list(self._ahead)
        if self._lost:
            lines.insert(0, f"({self._lost} lines were left out: this reader is too slow)")
        self._ahead.clear()
        self._lost = 0
        self._more.clear()
        return lines
