"""Deleting what user code made: all of it, at any depth, and nothing that it leads to."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent import nofollow as removal
from agent.nofollow import move_or_remove, remove
from tests.peers.nested import nest


@pytest.fixture
def at(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)
    subprocess.run(("rm", "-rf", tmp_path / "it"), check=True)  # pytest's own cleaning is not up to what is deep


def test_a_tree_goes_whole_and_what_its_links_lead_to_stays(tmp_path: Path, at: int) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    for folder in ("it/a/b/c", "it/a/0", "it/0/1", "it/1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").touch()
        (tmp_path / folder / "link").symlink_to(tmp_path / "kept")
    os.mkfifo(tmp_path / "it/pipe")
    (tmp_path / "it/a/b").chmod(0o555)
    remove("it", at)
    remove("it", at)

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept/file").exists()


def test_a_link_is_deleted_itself(tmp_path: Path, at: int) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "it").symlink_to(tmp_path / "kept")
    remove("it", at)

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_depth_costs_neither_calls_nor_open_files(tmp_path: Path, at: int) -> None:
    (tmp_path / "it").mkdir()
    nest(tmp_path / "it", 3000, "a", "0", "node_modules")
    remove("it", at)

    assert not (tmp_path / "it").exists()


def test_a_folder_of_more_names_than_are_held_at_a_time(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_AT_ONCE", 7)
    for number in range(50):
        (tmp_path / f"it/{number % 3}/{number}/deep").mkdir(parents=True)
        (tmp_path / f"it/{number}.txt").touch()
    remove("it", at)

    assert not (tmp_path / "it").exists()


def test_one_that_was_ended_goes_on_where_it_was(tmp_path: Path, at: int) -> None:
    for number in range(10):
        (tmp_path / f"it/{number}/deep").mkdir(parents=True)

    def hurry() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        remove("it", at, between=hurry)
    assert (tmp_path / "it").exists()
    remove("it", at)
    assert not (tmp_path / "it").exists()


def test_who_goes_on_making_files_is_not_raced_for_ever(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_MOST", 500)
    (tmp_path / "it").mkdir()
    (tmp_path / "it/first").touch()
    held = os.open(tmp_path / "it", os.O_RDONLY)

    def fill() -> None:
        os.close(os.open("again", os.O_CREAT | os.O_WRONLY, dir_fd=held))
        os.close(os.open("and-again", os.O_CREAT | os.O_WRONLY, dir_fd=held))

    try:
        with pytest.raises(OSError, match="filled faster than it is emptied"):
            remove("it", at, between=fill)
    finally:
        os.close(held)


def test_code_that_swaps_folders_and_links_meanwhile_gains_nothing(tmp_path: Path, at: int) -> None:
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    (kept / "file").touch()
    over = threading.Event()

    def swap() -> None:
        it = tmp_path / "it"
        while not over.is_set():
            for step in (
                lambda: (it / "a/b/c").mkdir(parents=True),
                lambda: (it / "a").rename(it / "aside"),
                lambda: (it / "a").symlink_to(kept),
                (it / "a").unlink,
                lambda: (it / "aside/b").rename(it / "a"),
            ):
                with suppress(OSError):
                    step()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            with suppress(OSError):
                remove("it", at)
    finally:
        over.set()
        thread.join()

    assert (kept / "inner").is_dir()
    assert (kept / "file").exists()


def test_a_folder_of_an_images_layer_is_deleted_where_it_cannot_be_moved(tmp_path: Path) -> None:
    for name in ("lower/modules/next", "upper", "work", "merged"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/modules/next/package.json").write_text("{}")
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work,redirect_dir=off"
    merged = tmp_path / "merged"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", layers, merged], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"an overlay cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        move_or_remove(merged / "modules", merged / "old")
        assert sorted(path.name for path in merged.iterdir()) == []
        (merged / "modules").mkdir()
        move_or_remove(merged / "modules", merged / "old")
        assert [path.name for path in merged.iterdir()] == ["old"], "what no image brought along is moved"
    finally:
        subprocess.run(["umount", merged], check=True)
