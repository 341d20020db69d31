"""Reads the app's own files after each applied set, and publishes the findings of `review`.

Invariants:
  - A file is opened without following links in any of its folders, because the app's code can create links, and lines
    of what is read are shown to people.
  - A set that touches none of these files costs no read. Number and size of the files that are read are limited.

What must not live here: what a file means (review.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson

from agent.app_files import review
from agent.nofollow import folder_below, read_regular
from agent.status import Applied, FileFacts

FILE_BYTES: Final = 16 * 2**20
JSON_FILES: Final = 200
"""How many files of JSON_NAMES are read, in all folders: a monorepo has two for each member."""

_NEXT = "node_modules/next/package.json"
_MIDDLEWARE = frozenset(path for _, _, path in review.MIDDLEWARE)
_AT_ROOT = frozenset(review.READ) | frozenset(review.JSON_NAMES)


class AppFiles:
    """Not thread-safe: only for the event loop's thread. `run` may be called once."""

    def __init__(self, *, workspace: Path, environ: AbstractSet[str], publish: Callable[[FileFacts], None]) -> None:
        """`environ`: the names of the environment variables that the app's programs get."""
        self._workspace = workspace
        self._environ = environ
        self._publish = publish
        self._paths = set(_AT_ROOT)
        self._changed = asyncio.Event()
        self._seen = False

    def files_changed(self, applied: Applied) -> None:
        """Called when a whole set is on disk."""
        touched = {*applied.written, *applied.deleted}
        json_files = {path for path in applied.written if review.is_json(path)}
        self._paths |= (
            set(sorted(json_files)[: JSON_FILES - len(self._paths)]) if len(self._paths) < JSON_FILES else set()
        )
        if not self._seen or json_files or touched & (self._paths | _MIDDLEWARE):
            self._seen = True
            self._changed.set()

    async def run(self) -> None:
        """Review the files whenever they have changed, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._publish(await asyncio.to_thread(self._review, frozenset(self._paths)))

    def _review(self, paths: AbstractSet[str]) -> FileFacts:
        try:
            root = os.open(self._workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return FileFacts()
        try:
            found = {path: data for path in paths if (data := read_inside(root, path)) is not None}
            there = {path for path in _MIDDLEWARE if read_inside(root, path) is not None}
            installed = read_inside(root, _NEXT)
        finally:
            os.close(root)
        return review.review(found, there, next_major=_major(installed), environ=self._environ)


def read_inside(root: int, path: str) -> bytes | None:
    """The content of the regular file `path` below the folder descriptor `root`; None if there is none, if a link is in
    its path, or if it is larger than FILE_BYTES.
    """
    above, _, name = path.rpartition("/")
    try:
        with folder_below(root, above) as folder:
            return read_regular(name, folder, FILE_BYTES)
    except (OSError, ValueError):
        return None


def _major(manifest: bytes | None) -> int | None:
    with suppress(orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
        return int(orjson.loads(manifest or b"")["version"].partition(".")[0])
    return None
