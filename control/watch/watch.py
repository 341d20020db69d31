"""A local folder is the app (`--watch DIR`): every save in it becomes a revision, one a burst.

Events are hints, the disk is the truth: an event says which paths to look at, and what is found there is compared with
what was stored. What has no event (a lost one, a filesystem without them) is found by a sweep over the whole folder
every `SWEEP_SECONDS`, which compares stamps and reads nothing that kept its own.

Invariants: the watch stands before the first sweep looks, so no save falls between them. A folder that is gone as a
whole (unmounted, renamed away) deletes nothing: the set stays as it was until the folder is back. Reading, hashing and
writing happen in the store's thread, one burst after the other.

What must not live here: what belongs to the app and how it is read (folder.py).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import structlog
from watchfiles._rust_notify import RustNotify  # documented for direct use; awatch does not say when its watch stands

from agent.paths import folders_of, shown
from control.errors import Refused
from control.files.entries import Upsert, upsert
from control.storage.store import Store, Written
from control.watch import folder
from control.watch.folder import LeftOut, Present, Stamp

log = structlog.get_logger()

DEBOUNCE_MS = 20
STEP_MS = 5
SWEEP_SECONDS = 30.0
GONE_SECONDS = 1.0
MANY = 1_000
"""More paths than this in one burst are a sweep: the kernel's queue of events may have overflowed."""


class Watch:
    """`first` brings the store to the folder's state, `run` keeps it there. `app_id` must exist in the store."""

    def __init__(self, store: Store, app_id: str, root: Path) -> None:
        self._store = store
        self._app_id = app_id
        self._root = root.resolve()
        self._stamps: dict[str, Stamp] = {}
        self._noted: set[tuple[str, str]] = set()
        self._standing = asyncio.Event()

    async def standing(self) -> None:
        """Returns once the folder is watched and what was in it is stored."""
        await self._standing.wait()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                notify = RustNotify(
                    [str(self._root)],
                    debug=False,
                    force_polling=False,
                    poll_delay_ms=0,
                    recursive=True,
                    ignore_permission_denied=True,
                )
            except OSError as error:
                await self._gone(error.strerror or str(error))
                continue
            try:
                await self._follow(notify)
            finally:
                notify.close()

    async def _follow(self, notify: RustNotify) -> None:
        await self._bring(None)
        self._standing.set()
        while self._root.is_dir():
            paths = await self._burst(notify)
            await self._bring(paths if paths and len(paths) <= MANY else None)
        await self._gone("it is no folder any more")

    async def _gone(self, why: str) -> None:
        if ("", why) not in self._noted:
            log.warning("watch.folder_gone", folder=str(self._root), reason=why, files="kept as they were")
            self._noted.add(("", why))
        self._standing.set()
        await asyncio.sleep(GONE_SECONDS)

    async def _burst(self, notify: RustNotify) -> frozenset[str]:
        """The paths of the next burst of events, relative to the folder; none when it is time for a sweep."""
        inside = str(self._root) + "/"
        while True:
            events = await self._events(notify)
            if isinstance(events, str):
                return frozenset()
            paths = frozenset(path.removeprefix(inside) for _, path in events if path.startswith(inside))
            if ours := frozenset(path for path in paths if not folder.is_left_out(path)):
                return ours
            if not self._root.is_dir():
                return frozenset()

    async def _events(self, notify: RustNotify) -> set[tuple[int, str]] | str:
        stop = threading.Event()
        waiting = asyncio.get_running_loop().run_in_executor(
            None, notify.watch, DEBOUNCE_MS, STEP_MS, int(SWEEP_SECONDS * 1000), stop
        )
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([waiting], timeout=1)
            raise

    async def _bring(self, paths: frozenset[str] | None) -> None:
        """Store what differs at `paths` or below them; None: anywhere."""
        began = time.perf_counter()
        try:
            written = await self._store.in_turn(lambda: self._store_changes(paths))
        except Refused as refused:
            if paths is not None:  # half of a larger change was seen: a sweep sees the rest
                await self._bring(None)
            else:
                log.warning("watch.refused", app=shown(self._app_id), reason=str(refused), files="kept as they were")
            return
        if written is not None:
            log.info(
                "watch.stored",
                app=shown(self._app_id),
                revision=written.head.revision,
                changed=written.changed,
                deleted=written.deleted,
                ms=round((time.perf_counter() - began) * 1000, 1),
            )

    def _store_changes(self, paths: frozenset[str] | None) -> Written | None:
        """One look at the disk, one revision. Runs in the store's thread."""
        starts = [""] if paths is None else sorted(paths)
        with self._store.long_snapshot() as snapshot:
            stored = {path: sha for start in starts for path, sha in snapshot.hashes(self._app_id, start).items()}
        there: set[str] = set()
        kept: set[str] = set()
        changed: list[Upsert] = []
        for found in (found for start in starts for found in folder.walk(self._root, start)):
            if isinstance(found, Present) and self._stamps.get(found.path) == found.stamp and found.path in stored:
                there.add(found.path)
                continue
            got = folder.read(self._root, found.path) if isinstance(found, Present) else found
            if isinstance(got, LeftOut):
                self._note(got)
                kept |= {got.path} if got.keep else set()
            elif got is not None:
                there.add(found.path)
                self._stamps[found.path] = got[1]
                file = upsert(found.path, got[0])
                changed += [file] if stored.get(file.path) != file.sha256 else []
        gone = [path for path in stored if path not in there and kept.isdisjoint([path, *folders_of(path)])]
        if not (changed or gone) or not self._root.is_dir():
            return None
        try:
            return self._store.write(self._app_id, _once(changed), gone)
        except Refused:
            self._stamps.clear()
            raise

    def _note(self, left_out: LeftOut) -> None:
        """Say once why something is left out."""
        if (left_out.path, left_out.why) not in self._noted:
            self._noted.add((left_out.path, left_out.why))
            log.warning("watch.left_out", file=shown(left_out.path), reason=left_out.why, stored=left_out.keep)


def _once(files: Iterable[Upsert]) -> Iterable[Upsert]:
    """A burst may name a file and its folder: each file once, as it was read last."""
    return {file.path: file for file in files}.values()
