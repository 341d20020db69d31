"""Runs all blocking disk work of the sync on one thread, so that the event loop never blocks on the disk.

Calls run one after the other, and a call that has started always finishes: if the awaiting task is cancelled, the
cancellation is raised only after the call has returned. So the manifest is never closed during a burst.
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
        """Let the thread end after its current call. Does not wait. Idempotent."""
        self._pool.shutdown(wait=False)
