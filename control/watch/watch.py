"""Stores every change in a local folder (`--watch DIR`) as a revision of its app, one revision per burst of events.

An event only names the paths to compare with the store. Changes without an event (lost ones, filesystems without
events) are found by a scan of the whole folder every `SCAN_SECONDS`, which compares stamps and reads only files whose
stamp has changed.

Invariants: the watch is active before the first scan begins, so no save is missed between them. A folder that is
missing as a whole (unmounted, renamed) deletes nothing: the set stays until the folder is back. Reading, hashing and
writing happen on the store's writer thread, one burst at a time.

What must not live here: which files belong to the app, and reading them (folder.py).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import structlog
from watchfiles._rust_notify import (
    RustNotify,  # documented for direct use; awatch does not tell when its watch is active
)

from agent.paths import folders_of, shown
from control.errors import RequestError
from control.files.entries import Upsert, upsert
from control.storage.store import Store, WriteResult
from control.watch import folder
from control.watch.folder import Excluded, PresentFile, Stamp

log = structlog.get_logger()

DEBOUNCE_MS = 20
STEP_MS = 5
SCAN_SECONDS = 30.0
MISSING_PAUSE = 1.0
SCAN_FROM_PATHS = 1_000
"""A burst with more paths causes a scan, because the kernel's event queue may have overflowed."""


class Watch:
    """`run` keeps the store equal to the folder. `app_id` must exist in the store."""

    def __init__(self, store: Store, app_id: str, root: Path) -> None:
        self._store = store
        self._app_id = app_id
        self._root = root.resolve()
        self._stamps: dict[str, Stamp] = {}
        self._logged: set[tuple[str, str]] = set()
        self._ready = asyncio.Event()

    async def ready(self) -> None:
        """Return when the folder is watched and its content is stored, or when it is missing."""
        await self._ready.wait()

    async def run(self) -> None:
        """Watch until cancelled."""
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
                await self._report_missing(error.strerror or str(error))
                continue
            try:
                await self._follow(notify)
            finally:
                notify.close()

    async def _follow(self, notify: RustNotify) -> None:
        await self._store_differences(None)
        self._ready.set()
        while self._root.is_dir():
            paths = await self._burst(notify)
            await self._store_differences(paths if paths and len(paths) <= SCAN_FROM_PATHS else None)
        await self._report_missing("it is not a folder any more")

    async def _report_missing(self, why: str) -> None:
        if ("", why) not in self._logged:
            log.warning("watch.folder_missing", folder=str(self._root), reason=why, files="unchanged")
            self._logged.add(("", why))
        self._ready.set()
        await asyncio.sleep(MISSING_PAUSE)

    async def _burst(self, notify: RustNotify) -> frozenset[str]:
        """Return the paths of the next burst of events, relative to the folder; none when a scan is due."""
        inside = str(self._root) + "/"
        while True:
            events = await self._events(notify)
            if isinstance(events, str):
                return frozenset()
            paths = frozenset(path.removeprefix(inside) for _, path in events if path.startswith(inside))
            if ours := frozenset(path for path in paths if not folder.is_never_app_file(path)):
                return ours
            if not self._root.is_dir():
                return frozenset()

    async def _events(self, notify: RustNotify) -> set[tuple[int, str]] | str:
        stop = threading.Event()
        waiting = asyncio.get_running_loop().run_in_executor(
            None, notify.watch, DEBOUNCE_MS, STEP_MS, int(SCAN_SECONDS * 1000), stop
        )
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([waiting], timeout=1)
            raise

    async def _store_differences(self, paths: frozenset[str] | None) -> None:
        """Store the differences at and below `paths`, or in the whole folder for None."""
        began = time.perf_counter()
        try:
            written = await self._store.run_in_writer(lambda: self._store_changes(paths))
        except RequestError as refused:
            if paths is not None:  # this may be a part of a larger change, which a scan sees whole
                await self._store_differences(None)
            else:
                log.warning("watch.refused", app=shown(self._app_id), reason=str(refused), files="unchanged")
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

    def _store_changes(self, paths: frozenset[str] | None) -> WriteResult | None:
        """Compare the disk with the store, and write one revision. Runs on the store's writer thread."""
        starts = [""] if paths is None else sorted(paths)
        with self._store.long_snapshot() as snapshot:
            stored = {path: sha for start in starts for path, sha in snapshot.hashes(self._app_id, start).items()}
        there: set[str] = set()
        kept: set[str] = set()
        changed: list[Upsert] = []
        for found in (found for start in starts for found in folder.walk(self._root, start)):
            if isinstance(found, PresentFile) and self._stamps.get(found.path) == found.stamp and found.path in stored:
                there.add(found.path)
                continue
            got = folder.read(self._root, found.path) if isinstance(found, PresentFile) else found
            if isinstance(got, Excluded):
                self._log_exclusion(got)
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
        except RequestError:
            self._stamps.clear()
            raise

    def _log_exclusion(self, excluded: Excluded) -> None:
        """Log each exclusion once."""
        if (excluded.path, excluded.why) not in self._logged:
            self._logged.add((excluded.path, excluded.why))
            log.warning("watch.excluded", file=shown(excluded.path), reason=excluded.why, stored=excluded.keep)


def _once(files: Iterable[Upsert]) -> Iterable[Upsert]:
    """Return each file once, as it was read last: a burst may name a file and its folder."""
    return {file.path: file for file in files}.values()
