"""Throwing caches away in a folder that hostile code writes to."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from agent.devserver import caches
from agent.errors import DiskError
from tests.peers.nested import nest


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    cache = tmp_path / "workspace/.next/dev/cache"
    (cache / "turbopack/v16").mkdir(parents=True)
    (cache / "turbopack/v16/1.sst").write_text("x")
    return tmp_path / "workspace"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").write_text("kept")
    return folder


def test_a_cache_is_removed_and_nothing_beside_it(workspace: Path) -> None:
    (workspace / ".next/dev/lock").touch()
    assert caches.is_warm(workspace)
    caches.drop(workspace)
    caches.drop(workspace)

    assert [path.name for path in (workspace / ".next/dev").iterdir()] == ["lock"]
    assert not caches.is_warm(workspace)


def test_an_empty_cache_is_a_cold_one(workspace: Path) -> None:
    caches.drop(workspace)
    (workspace / ".next/dev/cache").mkdir()

    assert not caches.is_warm(workspace)


def test_what_a_deletion_left_that_was_cut_short_goes_with_the_next(workspace: Path) -> None:
    (workspace / ".next/dev/cache").rename(workspace / ".next/dev/cache.removed")
    caches.drop(workspace)

    assert list((workspace / ".next/dev").iterdir()) == []


def test_a_link_in_the_place_of_the_cache_is_unlinked_and_not_followed(workspace: Path, precious: Path) -> None:
    (workspace / ".next/dev/cache").rename(workspace / "elsewhere")
    (workspace / ".next/dev/cache").symlink_to(precious)
    (workspace / ".next/dev/cache.removed").symlink_to(precious)
    assert not caches.is_warm(workspace)
    caches.drop(workspace)

    assert list((workspace / ".next/dev").iterdir()) == []
    assert (precious / "file").read_text() == "kept"


def test_a_link_within_the_cache_is_not_followed(workspace: Path, precious: Path) -> None:
    (workspace / ".next/dev/cache/turbopack/out").symlink_to(precious)
    caches.drop(workspace)

    assert (precious / "file").read_text() == "kept"


@pytest.mark.parametrize("parent", [".next", ".next/dev"])
def test_a_link_on_the_way_to_the_cache_stops_the_removal(workspace: Path, precious: Path, parent: str) -> None:
    (precious / "cache").mkdir()
    (precious / "dev/cache").mkdir(parents=True)
    (workspace / parent).rename(workspace / "elsewhere")
    (workspace / parent).symlink_to(precious)

    assert not caches.is_warm(workspace)
    with pytest.raises(DiskError, match=r"workspace/\.next/dev/cache could not be removed: Not a directory"):
        caches.drop(workspace)
    assert (precious / "cache").is_dir()
    assert (precious / "dev/cache").is_dir()


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, Path.unlink])
def test_whatever_stands_in_the_place_of_the_cache_goes(workspace: Path, make: Callable[[Path], None]) -> None:
    caches.drop(workspace)
    cache = workspace / ".next/dev/cache"
    cache.touch()
    cache.unlink()
    with suppress(FileNotFoundError):
        make(cache)
    assert not caches.is_warm(workspace)
    caches.drop(workspace)

    assert list((workspace / ".next/dev").iterdir()) == []


def test_a_cache_of_folders_nested_without_end_is_removed_like_any_other(workspace: Path) -> None:
    nest(workspace / ".next/dev/cache", 3000)
    caches.drop(workspace)

    assert list((workspace / ".next/dev").iterdir()) == []


def test_code_that_swaps_folders_and_links_during_the_removal_gains_nothing(workspace: Path, precious: Path) -> None:
    over = threading.Event()

    def swap() -> None:
        dev = workspace / ".next/dev"
        while not over.is_set():
            with suppress(OSError):
                (dev / "cache/turbopack").mkdir(parents=True)
                (dev / "cache/turbopack/v16").symlink_to(precious)
            with suppress(OSError):
                (dev / "cache").rename(dev / "aside")
                (dev / "cache").symlink_to(precious)
            with suppress(OSError):
                (dev / "cache").unlink()
                (dev / "aside").rename(dev / "cache")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            with suppress(DiskError):
                caches.drop(workspace)
    finally:
        over.set()
        thread.join()

    assert (precious / "file").read_text() == "kept"


def test_other_caches_are_emptied_and_a_missing_one_is_no_error(tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    (npm / "a/b").mkdir(parents=True)
    caches.empty([tmp_path / "missing", npm])

    assert not npm.exists()


def test_the_fuller_filesystem_counts(workspace: Path) -> None:
    space = os.statvfs(workspace)
    disk = caches.fullest(workspace)

    assert disk is not None
    assert disk.total == space.f_blocks * space.f_frsize
    assert caches.fullest(workspace / "missing") is None


def test_a_real_full_filesystem_of_its_own_below_the_workspace_is_seen(workspace: Path) -> None:
    look = (
        "import pathlib, sys; from agent.devserver import caches\n"
        "workspace = pathlib.Path(sys.argv[1])\n"
        "try: (workspace / '.next/fill').write_bytes(bytes(2**20))\n"
        "except OSError: disk = caches.fullest(workspace); print(disk.free, disk.total, disk.full)"
    )
    mounted = 'mount -t tmpfs -o size=64k none "$2/.next" || exit 99; exec "$0" -c "$1" "$2"'
    try:
        ran = subprocess.run(
            ("unshare", "--mount", "sh", "-c", mounted, sys.executable, look, workspace),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if ran.returncode in {1, 99} and not ran.stdout:
        pytest.skip(f"no filesystem may be mounted here: {ran.stderr}")

    assert ran.stdout == "0 65536 True\n"
