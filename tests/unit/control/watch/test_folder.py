import os
from pathlib import Path

import pytest

from agent.paths import MAX_FILE_BYTES
from control.watch.folder import Excluded, PresentFile, is_never_app_file, read, walk


def paths(root: Path, start: str = "") -> list[str]:
    return [found.path for found in walk(root, start) if isinstance(found, PresentFile)]


def left_out(root: Path, start: str = "") -> dict[str, tuple[str, bool]]:
    return {found.path: (found.why, found.keep) for found in walk(root, start) if isinstance(found, Excluded)}


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        "a/node_modules/b.js",
        ".next/x",
        "next-env.d.ts",
        "a/.DS_Store",
        ".a.tsx.swp",
        "4913",
        "a.tsx~",
        "#a.tsx#",
        ".#a.tsx",
        "a.tsx.tmp.4711",
        "a.tsx.tmp",
        "a.tsx___jb_tmp___",
        ".preview/control.db",
    ],
)
def test_tools_folders_and_editors_temporary_files_are_not_the_apps(path: str) -> None:
    assert is_never_app_file(path)


@pytest.mark.parametrize(
    "path", [".env", ".env.local", "app/page.tsx", ".github/x.yml", "tmp/a", "a.tmpl", "~a", "a#b"]
)
def test_everything_else_is(path: str) -> None:
    assert not is_never_app_file(path)


def test_a_walk_finds_all_files_at_a_place_and_below(tmp_path: Path) -> None:
    make(tmp_path, "b.tsx", "a/c.tsx", "a/b/d.tsx", ".env", ".git/HEAD", "a/node_modules/x.js")
    assert paths(tmp_path) == [".env", "a/b/d.tsx", "a/c.tsx", "b.tsx"]
    assert paths(tmp_path, "a") == ["a/b/d.tsx", "a/c.tsx"]
    assert paths(tmp_path, "b.tsx") == ["b.tsx"]
    assert paths(tmp_path, "gone/x") == paths(tmp_path, "b.tsx/x") == paths(tmp_path, ".git") == []


def test_links_and_what_is_no_file_are_named_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    make(outside, "secret")
    make(root, "a")
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe")
    assert paths(root) == ["a"]
    assert set(left_out(root)) == {"link", "folder", "pipe"}
    assert not any(keep for _, keep in left_out(root).values())
    assert list(walk(root, "folder/secret")) == []
    assert isinstance(read(root, "link"), Excluded)


def test_a_path_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a\\b", "fine")
    assert paths(tmp_path) == ["fine"]
    assert left_out(tmp_path) == {"a\\b": ("has a backslash", False)}


def test_a_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.tsx")).write_text("")
    assert [why for why, _ in left_out(tmp_path).values()] == ["is not valid UTF-8"]


def test_a_file_over_the_limit_is_named_and_what_was_stored_of_it_kept(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    ((why, keep),) = left_out(tmp_path).values()
    assert "10,485,761 bytes" in why
    assert keep
    assert isinstance(read(tmp_path, "big"), Excluded)


def test_reading_gives_the_bytes_with_their_stamp_and_nothing_of_a_file_that_is_gone(tmp_path: Path) -> None:
    make(tmp_path, "a")
    (present,) = walk(tmp_path)
    assert isinstance(present, PresentFile)
    assert read(tmp_path, "a") == (b"a", present.stamp)
    (tmp_path / "a").write_text("bc")
    assert read(tmp_path, "a") == (
        b"bc",
        next(found.stamp for found in walk(tmp_path) if isinstance(found, PresentFile)),
    )
    assert [present] != list(walk(tmp_path))
    assert read(tmp_path, "gone") is None
    assert read(tmp_path, "a/b") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_what_cannot_be_read_is_named_and_what_was_stored_of_it_kept(tmp_path: Path) -> None:
    make(tmp_path, "a", "b/c")
    (tmp_path / "a").chmod(0)
    (tmp_path / "b").chmod(0)
    try:
        assert left_out(tmp_path) == {"b": ("cannot be read: Permission denied", True)}
        assert read(tmp_path, "a") == Excluded("a", "cannot be read: Permission denied", keep=True)
    finally:
        (tmp_path / "b").chmod(0o700)
