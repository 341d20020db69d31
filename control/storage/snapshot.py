"""Queries, all answered from one read transaction: changes that are committed meanwhile are not visible.

The caller chooses the connection: `Store.snapshot` for short queries on the event loop's thread, `Store.long_snapshot`
for long ones on another thread.

What must not live here: writes, and the form of an answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from control.files.entries import StoredFile
from control.storage.head import SetHead

WHOLE = -1
"""The base that stands for the whole set."""

_ROWS = (
    "SELECT filepath, CASE WHEN inline THEN CAST(content AS TEXT) END, content_hash, size, file_type,"
    " created_at, updated_at, revision FROM files"
)


class StoreSnapshot:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    @classmethod
    @contextmanager
    def of(cls, connection: sqlite3.Connection) -> Iterator[Self]:
        """Open a read transaction, which starts with the first query."""
        connection.execute("BEGIN")
        try:
            yield cls(connection)
        finally:
            connection.execute("ROLLBACK")

    def head(self, app_id: str) -> SetHead | None:
        row = self._execute("SELECT epoch, revision, floor FROM apps WHERE app_id = ?", (app_id,)).fetchone()
        return SetHead(*row) if row else None

    def app_of_key(self, digest: str) -> str | None:
        row = self._execute("SELECT app_id FROM keys WHERE key_hash = ?", (digest,)).fetchone()
        return row[0] if row else None

    def edited_at(self, app_id: str) -> str | None:
        row = self._execute("SELECT edited_at FROM apps WHERE app_id = ?", (app_id,)).fetchone()
        return row[0] if row else None

    def is_small(self, app_id: str, base: int, *, files: int, size: int) -> bool:
        """True if at most `files` entries and `size` bytes changed after `base`. Reads indexes only."""
        count, total = self._execute(
            "SELECT count(*), total(size) FROM (SELECT CASE WHEN inline THEN size ELSE 0 END AS size FROM files"
            " WHERE app_id = ?1 AND revision > ?2 LIMIT ?3 + 1)",
            (app_id, base, files),
        ).fetchone()
        (gone,) = self._execute(
            "SELECT count(*) FROM (SELECT 1 FROM tombstones WHERE app_id = ?1 AND revision > ?2 LIMIT ?3 + 1)",
            (app_id, base, files),
        ).fetchone()
        return bool(count + gone <= files and total <= size)

    def rows(self, app_id: str, base: int) -> Iterator[StoredFile]:
        """Return the files that changed after revision `base`, oldest change first; for WHOLE all files, by path."""
        if base == WHOLE:
            found = self._execute(_ROWS + " WHERE app_id = ? ORDER BY filepath", (app_id,))
        else:
            found = self._execute(
                _ROWS + " INDEXED BY files_by_revision WHERE app_id = ? AND revision > ? ORDER BY revision",
                (app_id, base),
            )
        return (StoredFile(*row) for row in found)

    def deleted(self, app_id: str, base: int) -> Iterator[str]:
        """Return the paths deleted after `base` and not created again since, oldest deletion first."""
        found = self._execute(
            "SELECT filepath FROM tombstones INDEXED BY tombstones_by_revision"
            " WHERE app_id = ? AND revision > ? ORDER BY revision",
            (app_id, base),
        )
        return (path for (path,) in found)

    def hashes(self, app_id: str, at: str = "") -> dict[str, str]:
        """Return path → hash of every file, or of `at` and everything below it."""
        if not at:
            return dict(self._execute("SELECT filepath, content_hash FROM files WHERE app_id = ?", (app_id,)))
        return dict(
            self._execute(  # "0" is the character after "/": the range holds exactly what lies below
                "SELECT filepath, content_hash FROM files WHERE app_id = ?1"
                " AND (filepath = ?2 OR filepath > ?2 || '/' AND filepath < ?2 || '0')",
                (app_id, at),
            )
        )

    def blob(self, app_id: str, sha256: str) -> tuple[int, int] | None:
        """Return (row id, size) of a file with this hash, or None."""
        found = self._execute(
            "SELECT rowid, size FROM files WHERE app_id = ? AND content_hash = ? LIMIT 1", (app_id, sha256)
        ).fetchone()
        return (found[0], found[1]) if found else None

    def bytes_of(self, row: int, start: int, length: int) -> bytes:
        """Return a part of a file. `row` is a result of `blob` in this same transaction."""
        found = self._execute(
            "SELECT substr(content, ?, ?) FROM files WHERE rowid = ?", (start + 1, length, row)
        ).fetchone()
        return bytes(found[0])

    def machines(self, app_id: str) -> list[tuple[bytes, str]]:
        """Return (report, time received) of each machine, newest first."""
        found = self._execute(
            "SELECT state, received_at FROM activity WHERE app_id = ? ORDER BY received_at DESC", (app_id,)
        )
        return found.fetchall()
