"""The workspace is changed one path at a time, never through a link, and what is not the agent's own is kept."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.sync.disk.journal import FileRecord
from agent.sync.disk.staging import Stage
from agent.sync.disk.workspace_tree import Obstacle, PutResult, Tree

OLD, NEW, MINE = b"old\n", b"new!\n", b"edited by hand\n"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Bench(NamedTuple):
    tree: Tree
    stage: Stage
    root: Path
    outside: Path
    aside: Path

    def put(self, path: str, data: bytes = NEW, known: FileRecord | None = None) -> PutResult:
        self.stage.add(sha(data), data)
        name = self.stage.name_to_rename(sha(data), 0, again=True)
        record = self.stage.record(name, sha(data))
        return self.tree.put(path, record, self.stage.folder, name, known=known, aside=self.aside)

    def remove(self, path: str, known: FileRecord | None = None) -> str | None:
        return self.tree.remove(path, known=known, aside=self.aside)

    def kept(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.aside)): p.read_bytes() for p in self.aside.rglob("*") if p.is_file()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    root, outside = tmp_path / "workspace", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(OLD)
    stage = Stage(tmp_path / "staging")
    with Tree(root) as tree:
        yield Bench(tree, stage, root, outside, tmp_path / "aside")
    stage.close()
    assert {path.name for path in outside.iterdir()} == {"secret"}, "something was written outside"
    assert (outside / "secret").read_bytes() == OLD, "something outside was changed"


def test_a_file_is_put_with_its_folders(bench: Bench) -> None:
    done = bench.put("a/b/c.ts")

    there = (bench.root / "a/b/c.ts").stat()
    assert (bench.root / "a/b/c.ts").read_bytes() == NEW
    assert done == PutResult(FileRecord(sha(NEW), len(NEW), there.st_mtime_ns, there.st_ino), changed=True)


def test_a_replaced_file_is_never_missing_and_never_in_part(bench: Bench) -> None:
    known = bench.put("a.ts", OLD).record
    reader = (bench.root / "a.ts").open("rb")

    bench.put("a.ts", NEW, known)

    assert reader.read() == OLD, "who had it open reads the old one to its end"
    reader.close()


def test_wanted_bytes_that_are_there_already_are_not_touched(bench: Bench) -> None:
    (bench.root / "a.ts").write_bytes(NEW)
    os.utime(bench.root / "a.ts", ns=(5, 5))
    before = (bench.root / "a.ts").stat()

    done = bench.put("a.ts")

    after = (bench.root / "a.ts").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, 5)
    assert done == PutResult(FileRecord(sha(NEW), len(NEW), 5, before.st_ino), changed=False)


def test_an_edit_is_kept_before_it_is_replaced_and_named(bench: Bench) -> None:
    known = bench.put("app/a.ts", OLD).record
    (bench.root / "app/a.ts").write_bytes(MINE)

    done = bench.put("app/a.ts", NEW, known)

    assert (bench.root / "app/a.ts").read_bytes() == NEW
    assert bench.kept() == {"app/a.ts": MINE}
    assert done.note is not None
    assert done.note.endswith(f"is kept in STATE_DIR/{bench.aside.parent.name}/{bench.aside.name}/app/a.ts")


def test_an_edit_of_the_same_length_is_seen(bench: Bench) -> None:
    known = bench.put("a.ts", OLD).record
    (bench.root / "a.ts").write_bytes(b"OLD\n")

    bench.put("a.ts", NEW, known)

    assert bench.kept() == {"a.ts": b"OLD\n"}


def test_a_file_that_was_only_touched_is_no_edit(bench: Bench) -> None:
    known = bench.put("a.ts", OLD).record
    os.utime(bench.root / "a.ts", ns=(5, 5))

    assert bench.put("a.ts", NEW, known).note is None
    assert bench.kept() == {}


def test_an_edit_is_kept_before_it_is_deleted(bench: Bench) -> None:
    known = bench.put("a.ts", OLD).record
    (bench.root / "a.ts").write_bytes(MINE)

    assert bench.remove("a.ts", known) is not None
    assert not (bench.root / "a.ts").exists()
    assert bench.kept() == {"a.ts": MINE}


def test_a_template_file_that_a_set_replaces_is_kept_and_is_no_problem(bench: Bench) -> None:
    (bench.root / "page.tsx").write_bytes(OLD)

    assert bench.put("page.tsx").note is None
    assert bench.kept() == {"page.tsx": OLD}


@pytest.mark.parametrize("path", ["tsconfig.json", "next-env.d.ts"])
def test_what_next_writes_itself_is_nobodys_edit(bench: Bench, path: str) -> None:
    known = bench.put(path, OLD).record
    (bench.root / path).write_bytes(MINE)

    assert bench.tree.verify(path, known, read=True) == known
    assert bench.put(path, NEW, known).note is None
    assert bench.kept() == {}
    assert (bench.root / path).read_bytes() == NEW


def test_a_delete_takes_the_folders_that_it_empties(bench: Bench) -> None:
    known = bench.put("a/b/c/d.ts").record
    bench.put("a/e.ts")

    bench.remove("a/b/c/d.ts", known)

    assert sorted(p.name for p in (bench.root / "a").iterdir()) == ["e.ts"]
    assert bench.remove("a/b/c/d.ts", known) is None, "gone already"


def test_a_folder_with_other_files_stays(bench: Bench) -> None:
    known = bench.put("a/b.ts").record
    (bench.root / "a/mine.txt").write_bytes(MINE)

    bench.remove("a/b.ts", known)

    assert (bench.root / "a/mine.txt").read_bytes() == MINE


def test_the_root_stays_when_its_last_file_goes(bench: Bench) -> None:
    bench.remove("a.ts", bench.put("a.ts").record)

    assert bench.root.is_dir()


def test_a_file_takes_the_place_of_an_empty_folder(bench: Bench) -> None:
    bench.tree.make_folder("a/b")
    bench.remove("a/x", None)

    with pytest.raises(Obstacle, match="contains other files"):
        bench.put("a")
    (bench.root / "a/b").rmdir()
    bench.put("a")
    assert (bench.root / "a").read_bytes() == NEW


def test_a_folder_with_files_of_others_is_in_the_way(bench: Bench) -> None:
    (bench.root / "a").mkdir()
    (bench.root / "a/mine.txt").write_bytes(MINE)

    with pytest.raises(Obstacle, match="is a folder") as caught:
        bench.put("a")

    assert not caught.value.transient
    assert (bench.root / "a/mine.txt").read_bytes() == MINE


def test_a_file_that_became_a_folder_is_not_deleted(bench: Bench) -> None:
    known = bench.put("a").record
    (bench.root / "a").unlink()
    (bench.root / "a").mkdir()

    note = bench.remove("a", known)

    assert note is not None
    assert "not deleted" in note
    assert (bench.root / "a").is_dir()


def test_a_folder_that_somebody_makes_at_the_same_moment_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def late(*arguments: Any, **named: Any) -> None:
        mkdir(*arguments, **named)
        mkdir(*arguments, **named)

    monkeypatch.setattr(os, "mkdir", late)
    bench.put("a/b/c.ts")

    assert (bench.root / "a/b/c.ts").read_bytes() == NEW


def test_a_file_where_a_folder_should_be_is_an_obstacle(bench: Bench) -> None:
    (bench.root / "a").write_bytes(MINE)

    with pytest.raises(Obstacle, match="a is not a folder"):
        bench.put("a/b.ts")
    with pytest.raises(Obstacle, match="a is not a folder"):
        bench.tree.make_folder("a/b")


def test_many_folders_are_held_open_only_for_a_while(bench: Bench) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(300):
        bench.put(f"d{number}/e/f.ts")

    assert len(list(Path("/proc/self/fd").iterdir())) - before < 100
    assert all((bench.root / f"d{number}/e/f.ts").is_file() for number in range(300))


# Links and other things that are no files.


def link_to(target: str) -> Callable[[Path, Path], None]:
    return lambda place, outside: place.symlink_to(str(outside / target) if target else str(outside))


def _hop(place: Path, outside: Path) -> None:
    (place.parent / "hop").symlink_to(outside)
    place.symlink_to("hop")


def _fifo(place: Path, _: Path) -> None:
    os.mkfifo(place)


def _socket(place: Path, _: Path) -> None:
    here = os.getcwd()  # noqa: PTH109 - the path of a socket must be short, so it is bound from beside it
    os.chdir(place.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(place.name)
    finally:
        os.chdir(here)


def _device(place: Path, _: Path) -> None:
    try:
        os.mknod(place, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices, and not in every container")


ODD: dict[str, Callable[[Path, Path], None]] = {
    "link to a file": link_to("secret"),
    "link to a folder": link_to(""),
    "dangling link": link_to("nothing"),
    "link to a link": _hop,
    "link to itself": lambda place, _: place.symlink_to(place.name),
    "link to the system": lambda place, _: place.symlink_to("/etc/passwd"),
    "pipe": _fifo,
    "socket": _socket,
    "device": _device,
}
ODD_THINGS = pytest.mark.parametrize("plant", ODD.values(), ids=ODD.keys())


@ODD_THINGS
def test_what_is_no_file_is_replaced_itself_and_said(bench: Bench, plant: Callable[[Path, Path], None]) -> None:
    passwd = Path("/etc/passwd").read_bytes()
    plant(bench.root / "a", bench.outside)

    done = bench.put("a")

    assert done.note is not None
    assert (bench.root / "a").read_bytes() == NEW
    assert not (bench.root / "a").is_symlink()
    assert Path("/etc/passwd").read_bytes() == passwd


@ODD_THINGS
@pytest.mark.parametrize("depth", ["a", "b/a", "b/a/c"])
def test_nothing_is_written_below_what_is_no_folder(
    bench: Bench, plant: Callable[[Path, Path], None], depth: str
) -> None:
    place = bench.root / (depth if depth != "b/a/c" else "b/a")
    place.parent.mkdir(parents=True, exist_ok=True)
    plant(place, bench.outside)
    path = f"{depth}/new/page.tsx"

    with pytest.raises(Obstacle, match="not followed") as caught:
        bench.put(path)
    assert not caught.value.transient
    with pytest.raises(Obstacle, match="not followed"):
        bench.tree.make_folder(path)
    with pytest.raises(Obstacle):
        bench.tree.open(path)
    assert bench.tree.verify(path, FileRecord(sha(OLD), 4, 0, 0), read=True) is None
    assert bench.tree.record_if_equal(path, sha(OLD)) is None


@ODD_THINGS
def test_what_is_no_file_is_deleted_itself(bench: Bench, plant: Callable[[Path, Path], None]) -> None:
    plant(bench.root / "a", bench.outside)

    bench.remove("a", FileRecord(sha(OLD), 4, 0, 0))

    assert not os.path.lexists(bench.root / "a")


@ODD_THINGS
def test_what_is_no_file_is_not_read(bench: Bench, plant: Callable[[Path, Path], None]) -> None:
    plant(bench.root / "a", bench.outside)

    assert bench.tree.verify("a", FileRecord(sha(OLD), 4, 0, 0), read=True) is None
    assert bench.tree.record_if_equal("a", sha(OLD)) is None
    with pytest.raises(Obstacle):
        bench.tree.open("a")


def test_nothing_is_deleted_through_a_link(bench: Bench) -> None:
    (bench.root / "a").symlink_to(bench.outside)

    note = bench.remove("a/secret", FileRecord(sha(OLD), 4, 0, 0))

    assert note is not None
    assert "a link" in note
    assert (bench.root / "a").is_symlink(), "it is not ours"


def test_bytes_are_found_under_any_path_but_not_behind_links_or_in_reserved_folders(bench: Bench) -> None:
    for path, data in {"deep/er/one.ts": OLD, "node_modules/x/two.ts": NEW, ".next/cache/three.ts": MINE}.items():
        (bench.root / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / path).write_bytes(data)
    (bench.root / "link").symlink_to(bench.outside)
    (bench.root / "deep/link.ts").symlink_to(bench.outside / "secret")
    os.mkfifo(bench.root / "deep/pipe")

    assert bench.tree.find_by_sizes(frozenset({len(OLD), len(NEW), len(MINE), 0})) == {sha(OLD): "deep/er/one.ts"}
    assert bench.tree.find_by_sizes(frozenset({77})) == {}


def test_folders_nested_without_end_do_no_harm(bench: Bench) -> None:
    here = os.open(bench.root, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (bench.root / "a.ts").write_bytes(OLD)

    assert bench.tree.find_by_sizes(frozenset({len(OLD)})) == {sha(OLD): "a.ts"}
    _remove_deep(bench.root)


def _remove_deep(root: Path) -> None:
    """Rmtree would run out of frames or of descriptors, and so would pytest's."""
    home = root.parent
    while (root / "d").is_dir():
        inner = root / "d" / "d"
        if inner.is_dir():
            inner.rename(home / "moved")
            (root / "d").rmdir()
            (home / "moved").rename(root / "d")
        else:
            (root / "d").rmdir()
