"""Who waits for an app's next revision, and waking them.

Invariants: those who wait for one app are woken in the order in which they came. No change is lost between a look at
the store and the wait that follows it: a change is published on the loop's own thread and only after its commit, and
`newer` first looks at what was published. A waiter is one future and one timer, no task.

Revisions of other processes (`control app` writes none) are not seen here; a poll sees them.

What must not live here: HTTP, the store.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Feed:
    """Only for the loop's own thread: other threads go through `call_soon_threadsafe`."""

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
        """Say that `revision` of the app is committed. Older ones than the newest said are no news."""
        self._newest[app_id] = max(revision, self._newest.get(app_id, 0))
        for future, than in list(self._waiting.get(app_id, {}).items()):
            if than < revision and not future.done():
                future.set_result(None)

    async def newer(self, app_id: str, than: int, seconds: float) -> None:
        """Return once a revision above `than` was published, after `seconds`, or when the feed closes."""
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
        """Wake everybody, for good: the server is stopping."""
        self._closed = True
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_result(None)
