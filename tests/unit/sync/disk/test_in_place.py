"""A style sheet is overwritten in place where that changes nobody else's bytes, and replaced by a rename elsewhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.sync.disk.journal import FileRecord
from agent.sync.disk.staging import Stage
from agent.sync.disk.workspace_tree import PutResult, Tree

OLD, NEW, MINE = b"old\n", b"new!\n", b"edited by hand\n"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Bench(NamedTuple):
    tree: Tree
    stage: Stage
    root: Path
    aside: Path

    def put(self, path: str, data: bytes, known: FileRecord | None = None) -> PutResult:
        self.stage.add(sha(data), data)
        name = self.stage.name_to_rename(sha(data), 0, again=True)
        record = self.stage.record(name, sha(data))
        return self.tree.put(path, record, self.stage.folder, name, known=known, aside=self.aside)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    root = tmp_path / "workspace"
    root.mkdir()
    stage = Stage(tmp_path / "staging")
    with Tree(root) as tree:
        yield Bench(tree, stage, root, tmp_path / "aside")
    stage.close()


@pytest.mark.parametrize("old", [b"a { color: red }\n", b"a" * 9000, b""])
def test_a_style_sheet_is_written_in_place_because_loaders_miss_a_rename(bench: Bench, old: bytes) -> None:
    known = bench.put("app/globals.css", old).record
    there = (bench.root / "app/globals.css").stat()
    done = bench.put("app/globals.css", NEW, known)
    after = (bench.root / "app/globals.css").stat()
    assert (bench.root / "app/globals.css").read_bytes() == NEW
    assert after.st_ino == there.st_ino
    assert done == PutResult(FileRecord(sha(NEW), len(NEW), after.st_mtime_ns, after.st_ino), changed=True)
    assert {path.name for path in bench.root.rglob("*")} == {"app", "globals.css"}


def test_a_style_sheet_is_renamed_where_other_bytes_would_change_with_it(bench: Bench) -> None:
    known = bench.put("linked.css", OLD).record
    os.link(bench.root / "linked.css", bench.root / "other.css")
    bench.put("linked.css", NEW, known)
    assert (bench.root / "other.css").read_bytes() == OLD
    edited = bench.put("edited.css", OLD).record
    (bench.root / "edited.css").write_bytes(MINE)
    bench.put("edited.css", NEW, edited)
    assert (bench.aside / "edited.css").read_bytes() == MINE
    large = bench.put("large.css", b"b" * 300_000).record
    bench.put("large.css", b"c" * 300_000, large)
    assert (bench.root / "large.css").stat().st_ino != large.inode


def test_a_style_sheet_that_cannot_be_overwritten_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    known = bench.put("globals.css", OLD).record
    monkeypatch.setattr("agent.sync.disk.in_place.os.pwrite", lambda *_: 1)
    done = bench.put("globals.css", NEW, known)
    assert (bench.root / "globals.css").read_bytes() == NEW
    assert done.record.inode == (bench.root / "globals.css").stat().st_ino != known.inode
