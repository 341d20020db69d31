"""Stores apps, keys, files by revision, and activity, in SQLite (WAL mode).

Invariants:
- A revision is one committed transaction, and it is on stable storage before it is acknowledged (synchronous=FULL).
  Otherwise a power cut could lose it, a later change could reuse its number, and an agent that holds its ETag would
  get a 304 for other content.
- One connection writes, only on the writer's thread (`run_in_writer`), one change at a time. Readers have connections
  of their own and never wait for it (snapshot.py).
- `committed` is called after the commit, on the writer's thread.

What must not live here: HTTP, held requests.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.clock import Clock, rfc3339
from agent.paths import MAX_FILES, MAX_SET_BYTES, folders_of, shown
from control.errors import Conflict, NotFound, TooLarge
from control.files.entries import Upsert, is_inline, type_of
from control.storage.head import SetHead
from control.storage.schema import migrate
from control.storage.snapshot import StoreSnapshot

T = TypeVar("T")

LOG_REVISIONS = 10_000
"""How many revisions back a delta can start. Older tombstones are deleted."""

MACHINES = 100
"""How many machines' reports are kept per app."""

_UPSERT = """
    INSERT INTO files
      (app_id, filepath, content_hash, size, inline, file_type, created_at, updated_at, revision, content)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9)
    ON CONFLICT (app_id, filepath) DO UPDATE SET content_hash = ?3, size = ?4, inline = ?5, file_type = ?6,
      updated_at = ?7, revision = ?8, content = ?9"""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of a change: the current set after it, and how many files it changed and deleted."""

    head: SetHead
    changed: int
    deleted: int


def _connect(path: Path) -> sqlite3.Connection:
    # Several threads use a connection, never two at the same time. SQLite supports that (threadsafety 3).
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class Store:
    """Opens the database, and creates it if it is missing. `close` may be called twice."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.committed: Callable[[str, int], None] | None = None
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _connect(path)
        self._writer.execute("PRAGMA journal_mode = WAL")
        migrate(self._writer)
        self._reader = _connect(path)
        self._writer_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    def close(self) -> None:
        self._writer_thread.shutdown(wait=True)
        self._reader.close()
        self._writer.close()

    async def run_in_writer(self, work: Callable[[], T]) -> T:
        """Run `work` on the writer's thread, after earlier changes. Cancelling the caller does not stop it."""
        return await asyncio.get_running_loop().run_in_executor(self._writer_thread, work)

    @contextmanager
    def snapshot(self) -> Iterator[StoreSnapshot]:
        """A read transaction for short queries on the event loop's thread. Do not await inside."""
        with StoreSnapshot.of(self._reader) as snapshot:
            yield snapshot

    @contextmanager
    def long_snapshot(self) -> Iterator[StoreSnapshot]:
        """A read transaction with a connection of its own, for long answers on any thread."""
        with closing(_connect(self._path)) as connection, StoreSnapshot.of(connection) as snapshot:
            yield snapshot

    def add_app(self, app_id: str) -> bool:
        """Create the app with a new epoch. Return False if it exists."""
        with self._change():
            made = self._writer.execute(
                "INSERT INTO apps (app_id, epoch, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (app_id, secrets.token_hex(6), self._now()),
            )
            return made.rowcount == 1

    def add_key(self, app_id: str, digest: str) -> None:
        """Add a key, given as its sha256 in hex. Repeating it has no effect; a key of another app raises Conflict."""
        with self._change():
            self._writer.execute(
                "INSERT INTO keys (key_hash, app_id, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, app_id, self._now()),
            )
            if StoreSnapshot(self._writer).app_of_key(digest) != app_id:
                raise Conflict("this key belongs to another app, and a key can belong to one app only")

    def write(
        self,
        app_id: str,
        upserts: Iterable[Upsert],
        deleted: Iterable[str],
        check: Callable[[SetHead], None] | None = None,
    ) -> WriteResult:
        """Apply deletions, then `upserts`, as one revision, completely or not at all.

        If nothing differs from what is stored, there is no new revision. Deleting an absent file has no effect, so a
        call can be repeated. `check` may refuse the current set. Every call counts as activity of the editor.
        """
        with self._change():
            head = StoreSnapshot(self._writer).head(app_id)
            if head is None:
                raise NotFound(f"there is no app {shown(app_id)!r}")
            if check is not None:
                check(head)
            change = _Change(self._writer, app_id, head.revision + 1, self._now())
            for path in deleted:
                change.delete(path)
            for file in upserts:
                change.put(file)
            written = WriteResult(change.finish(head), change.changed, change.deleted)
        if self.committed is not None and written.head.revision != head.revision:
            self.committed(app_id, written.head.revision)
        return written

    def report(self, app_id: str, machine: str, state: bytes) -> None:
        """Store a machine's newest report. It is not synced to disk, because the next one follows within 30 s."""
        now = self._now()
        with self._change(durable=False):
            self._writer.execute(
                "INSERT INTO activity (app_id, machine, state, received_at) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (app_id, machine) DO UPDATE SET state = ?3, received_at = ?4",
                (app_id, machine, state, now),
            )
            self._writer.execute(
                "DELETE FROM activity WHERE app_id = ?1 AND machine NOT IN"
                " (SELECT machine FROM activity WHERE app_id = ?1 ORDER BY received_at DESC, rowid DESC LIMIT ?2)",
                (app_id, MACHINES),
            )

    @contextmanager
    def _change(self, *, durable: bool = True) -> Iterator[None]:
        self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _now(self) -> str:
        return rfc3339(self.clock.wall())


class _Change:
    """Builds one revision, inside its transaction."""

    def __init__(self, connection: sqlite3.Connection, app_id: str, revision: int, now: str) -> None:
        self._execute = connection.execute
        self._app_id = app_id
        self._revision = revision
        self._now = now
        self._new: list[str] = []
        self._bytes = 0
        self.changed = 0
        self.deleted = 0

    def delete(self, path: str) -> None:
        key = (self._app_id, path)
        gone = self._execute("SELECT size FROM files WHERE app_id = ? AND filepath = ?", key).fetchone()
        if gone is None:
            return
        self._execute("DELETE FROM files WHERE app_id = ? AND filepath = ?", key)
        self._execute("INSERT INTO tombstones (app_id, filepath, revision) VALUES (?, ?, ?)", (*key, self._revision))
        self._bytes -= gone[0]
        self.deleted += 1

    def put(self, file: Upsert) -> None:
        key = (self._app_id, file.path)
        old = self._execute(
            "SELECT content_hash, size, file_type FROM files WHERE app_id = ? AND filepath = ?", key
        ).fetchone()
        kind = file.file_type or (old[2] if old else type_of(file.path))
        if old is None:
            self._new.append(file.path)
            self._execute("DELETE FROM tombstones WHERE app_id = ? AND filepath = ?", key)
        elif old[0] == file.sha256 and old[2] == kind:
            return
        size = len(file.data)
        self._execute(
            _UPSERT, (*key, file.sha256, size, is_inline(file.data), kind, self._now, self._revision, file.data)
        )
        self._bytes += size - (old[1] if old else 0)
        self.changed += 1

    def finish(self, head: SetHead) -> SetHead:
        """Check the whole set, number it, delete old tombstones. Return the old head if nothing changed."""
        self._execute("UPDATE apps SET edited_at = ? WHERE app_id = ?", (self._now, self._app_id))
        if not self.changed and not self.deleted:
            return head
        self._refuse_overlaps()
        files, size = self._execute(
            "UPDATE apps SET revision = ?, files = files + ?, bytes = bytes + ? WHERE app_id = ?"
            " RETURNING files, bytes",
            (self._revision, len(self._new) - self.deleted, self._bytes, self._app_id),
        ).fetchall()[0]
        if files > MAX_FILES:
            raise TooLarge(f"the set would have {files:,} files; at most {MAX_FILES:,} are accepted")
        if size > MAX_SET_BYTES:
            raise TooLarge(f"the set would have {size:,} bytes; at most {MAX_SET_BYTES:,} are accepted")
        return SetHead(head.epoch, self._revision, self._prune(head.floor))

    def _refuse_overlaps(self) -> None:
        """Raise Conflict if a new path is a folder of a stored file, or lies below a stored file."""
        fine: set[str] = set()
        for path in self._new:
            for folder in folders_of(path):
                if (
                    folder not in fine
                    and self._execute(
                        "SELECT 1 FROM files WHERE app_id = ? AND filepath = ?", (self._app_id, folder)
                    ).fetchone()
                ):
                    raise Conflict(f"{shown(path)!r} cannot be stored: {shown(folder)!r} is a file, not a folder")
                fine.add(folder)
            inside = self._execute(  # "0" is the character after "/": the range holds exactly what lies below the path
                "SELECT filepath FROM files"
                " WHERE app_id = ?1 AND filepath > ?2 || '/' AND filepath < ?2 || '0' LIMIT 1",
                (self._app_id, path),
            ).fetchone()
            if inside:
                raise Conflict(f"{shown(path)!r} cannot be a file: it is the folder of {shown(inside[0])!r}")

    def _prune(self, floor: int) -> int:
        oldest = self._revision - LOG_REVISIONS
        (pruned,) = self._execute(
            "SELECT max(revision) FROM tombstones WHERE app_id = ? AND revision <= ?", (self._app_id, oldest)
        ).fetchone()
        if pruned is None:
            return floor
        self._execute("DELETE FROM tombstones WHERE app_id = ? AND revision <= ?", (self._app_id, oldest))
        self._execute("UPDATE apps SET floor = ? WHERE app_id = ?", (pruned, self._app_id))
        return int(pruned)
