"""Wakes held requests when their app gets a new revision.

Invariants: the requests that wait for one app are woken in the order of their arrival. No change is lost between
reading the store and waiting: a change is published on the event loop's thread after its commit, and `newer` first
compares with the newest published revision. A waiter costs one future and one timer, not a task.

Revisions written by another process are not published here; clients find them with their next poll.

What must not live here: HTTP, the store.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Feed:
    """For the event loop's thread only; other threads use `call_soon_threadsafe`."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._waiting: defaultdict[str, dict[asyncio.Future[None], int]] = defaultdict(dict)
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def closed(self) -> bool:
        return self._closed

    def publish(self, app_id: str, revision: int) -> None:
        """Announce that `revision` of the app is committed. Revisions below the newest one have no effect."""
        self._newest[app_id] = max(revision, self._newest.get(app_id, 0))
        for future, than in list(self._waiting.get(app_id, {}).items()):
            if than < revision and not future.done():
                future.set_result(None)

    async def newer(self, app_id: str, than: int, seconds: float) -> None:
        """Return when a revision above `than` is published, after `seconds`, or when the feed closes."""
        if self._closed or self._newest.get(app_id, 0) > than:
            return
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiting[app_id]
        waiting[future] = than
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            del waiting[future]
            if not waiting and self._waiting.get(app_id) is waiting:
                del self._waiting[app_id]

    def close(self) -> None:
        """Wake all waiters, and let later ones return at once: the server is stopping."""
        self._closed = True
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_result(None)
