"""A series of changes by one way of bringing them over, each timed from its hand-over to its bytes on disk."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.benches.arrivals import Arrivals

ARRIVES_WITHIN = 10.0


@dataclass
class Way:
    """`change` hands new content over; `came` tells when it is there. All times are milliseconds.

    `disk`: from before the hand-over to the bytes on disk; `handed`: the hand-over itself.
    """

    change: Callable[[str], None]
    came: Arrivals
    disk: list[float] = field(default_factory=list)
    handed: list[float] = field(default_factory=list)

    async def run(self, count: int, rest: Callable[[], float]) -> None:
        """Make `count` changes with `rest()` seconds before each, in a thread: this process's loop delays nothing."""
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
    """About 2 kB, of another length than the one before: rsync misses what keeps its length within one second."""
    return f"export const Part0 = () => <p>{number}</p>;\n" + "// one line more\n" * (110 + number % 7)
