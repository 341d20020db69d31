"""Times a series of changes through one transport, each from before it is sent until its bytes are on disk."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.benches.arrivals import Arrivals

ARRIVES_WITHIN = 10.0


@dataclass
class ChangeSeries:
    change: Callable[[str], None]
    """Sends new content, and returns when it was accepted."""
    came: Arrivals
    """Tells when the content is on disk."""
    disk: list[float] = field(default_factory=list)
    """Milliseconds from before `change` until the bytes are on disk."""
    handed: list[float] = field(default_factory=list)
    """Milliseconds of `change` itself."""

    async def run(self, count: int, rest: Callable[[], float]) -> None:
        """Make `count` changes with `rest()` seconds before each, on a thread, so that the loop delays nothing."""
        stop = threading.Event()
        try:
            await asyncio.to_thread(self._run, count, rest, stop)
        finally:
            stop.set()

    def _run(self, count: int, rest: Callable[[], float], stop: threading.Event) -> None:
        for _ in range(count):
            if stop.wait(rest()):
                return
            text = content(len(self.disk))
            began = time.perf_counter()
            self.change(text)
            handed = time.perf_counter()
            self.disk.append((self.came.of(text.encode(), ARRIVES_WITHIN) - began) * 1000)
            self.handed.append((handed - began) * 1000)


def content(number: int) -> str:
    """Realternating 2 kB, of another length than before: rsync misses changes that keep length and second."""
    return f"export const Part0 = () => <p>{number}</p>;\n" + "// one line more\n" * (110 + number % 7)
