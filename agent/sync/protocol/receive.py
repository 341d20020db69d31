"""Receives one answer: reads and checks it, collects its entries and stages its bytes, outside of the workspace.

NDJSON is staged line by line and a blob piece by piece, so that the agent's memory does not grow with the set. The
bytes of a file that is already in place are checked and discarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from agent.errors import BadAnswer, SyncError, Unreachable
from agent.sync.answer_set import AnswerSet
from agent.sync.disk.disk_thread import DiskThread
from agent.sync.disk.store import Disk
from agent.sync.plan import Put
from agent.sync.protocol.client import Backend, FilesAnswer
from agent.sync.protocol.entries import Blob, Deletion, End, Inline, Item, parse_json, parse_line

BLOBS_AT_ONCE = 4


class AnswerReceiver:
    """Receives one answer into `answer_set`. `has_blobs`: some contents are fetched in requests of their own."""

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
        self._blobs: dict[str, Put] = {}
        """sha256 → a file that needs these bytes."""
        self._lines = 0
        self.answer_set = AnswerSet()
        self.has_blobs = False

    async def receive_ndjson(self, answer: FilesAnswer) -> None:
        """Receive an NDJSON body. Raises Unreachable if the end line is missing: the body was cut off, and none of it
        is applied.
        """
        end: End | None = None
        delta = answer.head.kind == "delta"
        async for lines in answer.lines():
            if not lines:
                continue
            if end is not None:
                raise BadAnswer("the answer continues after its end line")
            end = await self._thread.run(self._add_lines, lines, delta=delta)
            self._progress(self._lines, None)
        if end is None:
            raise Unreachable("the answer was cut off: its end line is missing")
        if end.count != self._lines:
            raise BadAnswer(f"the answer's end line counts {end.count} lines, but {self._lines} arrived")
        await self._fetch_blobs()

    async def receive_json(self, body: bytes, *, delta: bool) -> None:
        await self._thread.run(self._add_items, parse_json(body, delta=delta))
        await self._fetch_blobs()

    def _add_lines(self, lines: list[bytes], *, delta: bool) -> End | None:
        items: list[Item] = []
        end: End | None = None
        for line in lines:
            if end is not None:
                raise BadAnswer("the answer continues after its end line")
            item = parse_line(line, self._lines, delta=delta)
            if isinstance(item, End):
                end = item
            else:
                self._lines += 1
                items.append(item)
        self._add_items(items)
        return end

    def _add_items(self, items: Iterable[Item]) -> None:
        for item in items:
            match item:
                case Inline(path, data, sha256):
                    if self.answer_set.add(path, sha256, len(data)) and self._is_needed(path, sha256):
                        self._disk.stage_bytes(sha256, data)
                case Blob(path, sha256, size):
                    self.has_blobs = True
                    if self.answer_set.add(path, sha256, size) and self._is_needed(path, sha256):
                        self._blobs[sha256] = Put(path, sha256, size)
                case Deletion(path):
                    self.answer_set.delete(path)

    def _is_needed(self, path: str, sha256: str) -> bool:
        return self._known.get(path) != sha256 or path in self._stale

    async def _fetch_blobs(self) -> None:
        if not self._blobs:
            return
        missing = await self._thread.run(self._disk.stage_from_disk, tuple(self._blobs.values()))
        slots = asyncio.Semaphore(BLOBS_AT_ONCE)
        fetched = 0

        async def fetch(put: Put) -> None:
            nonlocal fetched
            async with slots:
                await self._fetch(put)
            fetched += 1
            self._progress(len(self.answer_set.files) - len(missing) + fetched, len(self.answer_set.files))

        try:
            async with asyncio.TaskGroup() as group:
                for put in missing:
                    group.create_task(fetch(put))
        except* SyncError as errors:  # the others most likely have the same cause as the first
            raise errors.exceptions[0] from None

    async def _fetch(self, put: Put) -> None:
        writer = self._disk.open_writer(put.sha256)
        try:
            async for piece in self._backend.get_blob(put.sha256):
                if writer.size + len(piece) > put.size:
                    raise BadAnswer(f"the blob of {put.path} is longer than the {put.size:,} bytes of its entry")
                await self._thread.run(self._disk.write_piece, writer, piece)
            if not await self._thread.run(self._disk.finish_writer, writer):
                raise BadAnswer(f"the blob of {put.path} does not match its content_hash")
        finally:
            await self._thread.run(writer.abandon)
