"""One answer on its way in: read, checked, gathered, and its bytes staged. Nothing of the workspace is touched.

A stream is staged line by line and a blob piece by piece, so that the agent's memory does not grow with the set. The
bytes of a file that is in place already are checked and dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from agent.errors import AgentError, BadAnswer, Unreachable
from agent.sync.answer_set import Gathered
from agent.sync.disk.disk_thread import DiskThread
from agent.sync.disk.store import Disk
from agent.sync.plan import Put
from agent.sync.protocol.client import Answer, Backend
from agent.sync.protocol.entries import Blob, Deletion, End, Inline, Item, parse_json, parse_line

BLOBS_AT_ONCE = 4


class Reception:
    """Takes in one answer. `gathered` is what it says; `blobs` whether any of its contents came apart."""

    def __init__(
        self,
        *,
        backend: Backend,
        disk: Disk,
        thread: DiskThread,
        known: Mapping[str, str],
        stale: AbstractSet[str],
        progress: Callable[[int, int | None], None],
    ) -> None:
        self._backend = backend
        self._disk = disk
        self._thread = thread
        self._known = known
        self._stale = stale
        self._progress = progress
        self._apart: dict[str, Put] = {}
        self._lines = 0
        self.gathered = Gathered()
        self.blobs = False

    async def stream(self, answer: Answer) -> None:
        """A body of NDJSON. Raises Unreachable when it has no end: it was cut off, and nothing of it counts."""
        end: End | None = None
        delta = answer.head.kind == "delta"
        async for lines in answer.lines():
            if not lines:
                continue
            if end is not None:
                raise BadAnswer("the answer goes on after its end")
            end = await self._thread.run(self._take_lines, lines, delta=delta)
            self._progress(self._lines, None)
        if end is None:
            raise Unreachable("the answer was cut off: it has no last line that says so")
        if end.count != self._lines:
            raise BadAnswer(f"the answer's end counts {end.count} lines, and {self._lines} came")
        await self._fetch_blobs()

    async def whole(self, body: bytes, *, delta: bool) -> None:
        """A body of JSON."""
        await self._thread.run(self._take, parse_json(body, delta=delta))
        await self._fetch_blobs()

    def _take_lines(self, lines: list[bytes], *, delta: bool) -> End | None:
        items: list[Item] = []
        end: End | None = None
        for line in lines:
            if end is not None:
                raise BadAnswer("the answer goes on after its end")
            item = parse_line(line, self._lines, delta=delta)
            if isinstance(item, End):
                end = item
            else:
                self._lines += 1
                items.append(item)
        self._take(items)
        return end

    def _take(self, items: Iterable[Item]) -> None:
        for item in items:
            match item:
                case Inline(path, data, sha256):
                    if self.gathered.add(path, sha256, len(data)) and self._is_news(path, sha256):
                        self._disk.keep(sha256, data)
                case Blob(path, sha256, size):
                    self.blobs = True
                    if self.gathered.add(path, sha256, size) and self._is_news(path, sha256):
                        self._apart[sha256] = Put(path, sha256, size)
                case Deletion(path):
                    self.gathered.delete(path)

    def _is_news(self, path: str, sha256: str) -> bool:
        return self._known.get(path) != sha256 or path in self._stale

    async def _fetch_blobs(self) -> None:
        if not self._apart:
            return
        missing = await self._thread.run(self._disk.find, tuple(self._apart.values()))
        places = asyncio.Semaphore(BLOBS_AT_ONCE)
        fetched = 0

        async def fetch(put: Put) -> None:
            nonlocal fetched
            async with places:
                await self._fetch(put)
            fetched += 1
            self._progress(len(self.gathered.files) - len(missing) + fetched, len(self.gathered.files))

        try:
            async with asyncio.TaskGroup() as group:
                for put in missing:
                    group.create_task(fetch(put))
        except* AgentError as errors:  # the first says why; the others follow from the same cause
            raise errors.exceptions[0] from None

    async def _fetch(self, put: Put) -> None:
        receiver = self._disk.receive(put.sha256)
        try:
            async for piece in self._backend.blob(put.sha256):
                if receiver.size + len(piece) > put.size:
                    raise BadAnswer(f"the blob of {put.path} is longer than the {put.size:,} bytes that its entry says")
                await self._thread.run(self._disk.feed, receiver, piece)
            if not await self._thread.run(self._disk.finish, receiver):
                raise BadAnswer(f"the blob of {put.path} has bytes whose hash is not its content_hash")
        finally:
            await self._thread.run(receiver.abandon)
