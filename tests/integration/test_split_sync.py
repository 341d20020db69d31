"""What the sync writes belongs to DEV_USER, so that the app can change its own files; what is the agent's does not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sync.disk.store import Disk
from agent.sync.plan import plan
from tests.peers.backend_client import Place
from tests.peers.backend_sets import Set, sha, whole
from tests.peers.split import NOBODY, as_nobody, needs_split, open_folder

pytestmark = needs_split
FILES: Set = {"app/page.tsx": b"1", "app/deep/er/a.ts": b"2", "b.ts": b"2", "empty": b""}


@pytest.fixture
def place() -> Iterator[Place]:
    with open_folder() as folder:
        yield Place(folder, owner=(NOBODY, NOBODY))


def put(disk: Disk, files: Set, tag: str) -> None:
    for data in files.values():
        disk.stage_bytes(sha(data), data)
    known = {path: record.sha256 for path, record in disk.manifest.files.items()}
    disk.apply(plan(known, whole(files), delta=False, stale=frozenset()), etag=tag, revision=1)


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_files_and_folders_belong_to_the_user_and_the_state_does_not(place: Place) -> None:
    disk = place.disk()
    disk.open()
    put(disk, FILES, "1")
    put(disk, FILES | {"app/page.tsx": b"3"}, "2")
    receiver = disk.open_writer(sha(b"blob"))
    disk.write_piece(receiver, b"blob")
    assert disk.finish_writer(receiver)
    put(disk, FILES | {"new/blob": b"blob"}, "3")
    disk.close()
    assert owners(place.workspace) == {NOBODY}
    assert owners(place.state) == {0}


def test_the_app_can_change_what_the_sync_wrote(place: Place) -> None:
    disk = place.disk()
    disk.open()
    put(disk, FILES, "1")
    disk.close()
    script = """
import os
open("app/page.tsx", "a").write("mine")
open("app/deep/new.ts", "w").write("new")
os.mkdir(".next")
os.remove("b.ts")
"""
    done = as_nobody(place.home, script, cwd=place.workspace)
    assert done.returncode == 0, done.stderr
    assert (place.workspace / "app" / "page.tsx").read_bytes() == b"1mine"


def test_a_workspace_that_is_there_is_given_and_what_is_in_it_is_left(place: Place) -> None:
    place.workspace.mkdir()
    (place.workspace / "theirs").mkdir()
    os.chown(place.workspace / "theirs", 12345, 12345)
    disk = place.disk()
    disk.open()
    disk.close()
    assert place.workspace.stat().st_uid == NOBODY
    assert (place.workspace / "theirs").stat().st_uid == 12345


def test_a_folder_that_a_kill_left_with_root_is_given_by_the_repeated_burst(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    disk = place.disk()
    disk.open()
    disk.stage_bytes(sha(b"1"), b"1")
    monkeypatch.setattr(os, "fchown", killed)
    with pytest.raises(Killed):
        disk.apply(plan({}, whole({"app/a.ts": b"1"}), delta=False, stale=frozenset()), etag="1", revision=1)
    monkeypatch.undo()
    assert (place.workspace / "app").stat().st_uid == 0
    again = place.disk()
    again.open()
    again.close()
    assert place.files() == {"app/a.ts": b"1"}
    assert owners(place.workspace) == {NOBODY}


def test_a_file_costs_one_call_more_with_a_split_and_none_without(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted for a hundred files in one folder."""
    calls: Counter[str] = Counter()

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return call(*arguments, **named)

        return wrapped

    for name in ("open", "close", "write", "rename", "stat", "lstat", "fstat", "fchown", "chown", "mkdir", "unlink"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    files = {f"app/{number}.ts": b"%d" % number for number in range(100)}
    totals = []
    for home in (place, Place(tmp_path)):
        disk = home.disk()
        disk.open()
        calls.clear()
        put(disk, files, "1")
        disk.close()
        totals.append(Counter(calls))
    split, plain = totals
    assert plain["fchown"] == 0
    assert split["fchown"] == 101  # the folder's
    assert split.total() - plain.total() <= 100 + 4
