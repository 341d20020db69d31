"""The template's files, kept in STATE_DIR/template, from where they can be put back when an app needs them again.

The template is what the workspace holds before its first set, without packages, caches and what Next generates. It is
copied once, before any code of the app runs. A workspace that holds more than a template has (somebody's own project,
mounted there) is left alone: then there is no template, and its files stay.

Blocks on the disk. What must not live here: which of the files stand where (template.py).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson
import structlog

from agent.paths import MAX_FILE_BYTES, refusal
from agent.sync.disk.journal import Record
from agent.sync.disk.workspace_tree import Tree

FILES_MOST: Final = 500
BYTES_MOST: Final = 16 * 1024 * 1024
GENERATED: Final = (".tsbuildinfo", "next-env.d.ts")
INDEX: Final = "template.json"

log = structlog.get_logger()


class TemplateFiles:
    """`hashes`: path → sha256 of each file of the template; empty where there is none."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "template"
        self._index = state_dir / INDEX
        self.hashes: Mapping[str, str] = {}

    def open(self, tree: Tree, *, first: bool) -> dict[str, Record]:
        """Read the index, or make it where this is the `first` start in this workspace. Returns the record of each file
        of the template that stands untouched in the workspace. Raises OSError.
        """
        if first and not self._index.exists():
            self._copy(tree)
        try:
            self.hashes = orjson.loads(self._index.read_bytes())
        except FileNotFoundError:  # the workspace was empty
            return {}
        except orjson.JSONDecodeError as error:  # a power cut; its files stay where they are
            log.warning("template.index_damaged", reason=str(error))
            return {}
        there = {path: tree.adopt(path, sha256) for path, sha256 in self.hashes.items()}
        return {path: record for path, record in there.items() if record is not None}

    def read(self, path: str) -> bytes:
        return (self._folder / self.hashes[path]).read_bytes()

    def _copy(self, tree: Tree) -> None:
        found = [path for path in tree.paths(FILES_MOST + 1) if not path.endswith(GENERATED)]
        if not found:
            return
        if len(found) > FILES_MOST:
            log.warning("template.none", reason=f"the workspace holds more than {FILES_MOST} files already")
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        hashes, size = {}, 0
        for path in found:
            if refusal(path) is not None:
                continue
            with os.fdopen(tree.open(path), "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            size += len(data)
            if size > BYTES_MOST:
                log.warning("template.none", reason=f"the workspace holds more than {BYTES_MOST >> 20} MiB already")
                return
            hashes[path] = hashlib.sha256(data).hexdigest()
            (self._folder / hashes[path]).write_bytes(data)
        fresh = self._index.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(hashes))
        fresh.replace(self._index)
