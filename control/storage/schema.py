"""The schema of the database, as an ordered list of migrations. `PRAGMA user_version` counts them.

A released migration is never edited; a new one is appended. Columns that every query reads come before `content`, so
that SQLite does not have to walk the overflow pages of large files to reach them.

What must not live here: queries.
"""

from __future__ import annotations

import sqlite3

MIGRATIONS = (
    """
    CREATE TABLE apps (
      app_id     TEXT PRIMARY KEY,
      epoch      TEXT NOT NULL,              -- random, so that tags of a recreated database never equal old ones
      revision   INTEGER NOT NULL DEFAULT 0, -- of the newest change; only grows
      floor      INTEGER NOT NULL DEFAULT 0, -- newest revision whose tombstones were pruned: older bases get no delta
      files      INTEGER NOT NULL DEFAULT 0,
      bytes      INTEGER NOT NULL DEFAULT 0,
      edited_at  TEXT,                       -- the editor's newest activity
      created_at TEXT NOT NULL
    ) STRICT;

    CREATE TABLE keys (
      key_hash   TEXT PRIMARY KEY,           -- sha256 in hex; the key itself is nowhere
      app_id     TEXT NOT NULL REFERENCES apps(app_id),
      created_at TEXT NOT NULL
    ) STRICT;

    CREATE TABLE files (
      app_id       TEXT NOT NULL REFERENCES apps(app_id),
      filepath     TEXT NOT NULL,
      content_hash TEXT NOT NULL,            -- sha256 in hex of the bytes
      size         INTEGER NOT NULL,
      inline       INTEGER NOT NULL,         -- 1: goes out as text inside its entry; 0: as a blob
      file_type    TEXT,
      created_at   TEXT NOT NULL,
      updated_at   TEXT NOT NULL,
      revision     INTEGER NOT NULL,
      content      BLOB NOT NULL,
      PRIMARY KEY (app_id, filepath)
    ) STRICT;
    CREATE INDEX files_by_revision ON files (app_id, revision, size, inline);
    CREATE INDEX files_by_hash ON files (app_id, content_hash);

    CREATE TABLE tombstones (
      app_id   TEXT NOT NULL REFERENCES apps(app_id),
      filepath TEXT NOT NULL,
      revision INTEGER NOT NULL,
      PRIMARY KEY (app_id, filepath)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tombstones_by_revision ON tombstones (app_id, revision);

    CREATE TABLE activity (
      app_id      TEXT NOT NULL REFERENCES apps(app_id),
      machine     TEXT NOT NULL,
      state       BLOB NOT NULL,             -- the report as it came, JSON
      received_at TEXT NOT NULL,
      PRIMARY KEY (app_id, machine)
    ) STRICT;
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the missing migrations, each in a transaction. Raise DatabaseError if the database is too new."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(
            f"the database has schema version {version}, and this program supports versions up to {len(MIGRATIONS)}: "
            "use the program that created it, or another --db"
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
