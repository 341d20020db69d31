"""The one thread that all blocking work of this room runs on, so that the loop never waits for a disk.

Calls run one after the other. One that has begun ends: when the task that waits for it is cancelled, the wait goes on
to the call's end before the cancellation does, so that nobody closes the manifest under a burst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class DiskThread:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                try:
                    await asyncio.wait({future})
                except asyncio.CancelledError:
                    continue
            raise

    def close(self) -> None:
        """Let the thread end after what it is doing. Does not wait, and can be said twice."""
        self._pool.shutdown(wait=False)
