"""The output of `scripts/dev`: on a terminal a line that counts seconds, elsewhere plain lines."""

from __future__ import annotations

import time
from typing import TextIO

REMINDER_SECONDS = 15.0


class Terminal:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._begun = time.monotonic()
        self._doing: str | None = None
        self._said_at = 0.0

    def begin(self) -> None:
        """Count seconds from now."""
        self._begun = time.monotonic()

    def progress(self, what: str) -> None:
        """Show what is being waited for. Call it often, because each call updates the seconds."""
        now = time.monotonic()
        if self._live:
            self._out.write(f"\r\033[K{what} … {now - self._begun:.0f} s")
        elif what != self._doing or now - self._said_at >= REMINDER_SECONDS:
            self._said_at = now
            self._out.write(f"{what} … {now - self._begun:.0f} s\n")
        self._doing = what
        self._out.flush()

    def say(self, line: str) -> None:
        self._out.write(f"\r\033[K{line}\n" if self._live else f"{line}\n")
        self._out.flush()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begun
