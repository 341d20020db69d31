"""Keeps a copy of the template's files in STATE_DIR/template, so that they can be placed again when an app needs them.

The template is what the workspace holds before its first set, without packages, caches and what Next generates. It is
copied once, before any code of the app runs. If the workspace holds more than a template would (a project that was
mounted there), nothing is copied, there is no template, and those files stay.

Blocks on the disk. What must not live here: the decision which file is placed where (template.py).
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
from agent.sync.disk.journal import FileRecord
from agent.sync.disk.workspace_tree import Tree

FILES_MOST: Final = 500
BYTES_MOST: Final = 16 * 1024 * 1024
GENERATED: Final = (".tsbuildinfo", "next-env.d.ts")
INDEX: Final = "template.json"

log = structlog.get_logger()


class TemplateFiles:
    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "template"
        self._index = state_dir / INDEX
        self.hashes: Mapping[str, str] = {}
        """Path → sha256 of each template file; empty if there is no template."""

    def open(self, tree: Tree, *, first: bool) -> dict[str, FileRecord]:
        """Read the index, or create it on the `first` start in this workspace. Returns the record of each template file
        that is unchanged in the workspace. Raises OSError.
        """
        if first and not self._index.exists():
            self._copy(tree)
        try:
            self.hashes = orjson.loads(self._index.read_bytes())
        except FileNotFoundError:  # the workspace was empty
            return {}
        except orjson.JSONDecodeError as error:  # cut off by a power failure; the files stay where they are
            log.warning("template.index_damaged", reason=str(error))
            return {}
        records = {path: tree.record_if_equal(path, sha256) for path, sha256 in self.hashes.items()}
        return {path: record for path, record in records.items() if record is not None}

    def read(self, path: str) -> bytes:
        return (self._folder / self.hashes[path]).read_bytes()

    def _copy(self, tree: Tree) -> None:
        found = [path for path in tree.first_paths(FILES_MOST + 1) if not path.endswith(GENERATED)]
        if not found:
            return
        if len(found) > FILES_MOST:
            log.warning("template.not_copied", reason=f"the workspace already holds more than {FILES_MOST} files")
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
                log.warning(
                    "template.not_copied", reason=f"the workspace already holds more than {BYTES_MOST >> 20} MiB"
                )
                return
            hashes[path] = hashlib.sha256(data).hexdigest()
            (self._folder / hashes[path]).write_bytes(data)
        fresh = self._index.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(hashes))
        fresh.replace(self._index)
