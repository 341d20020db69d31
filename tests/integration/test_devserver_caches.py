"""Throwing caches away in a folder that hostile code writes to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agent.devserver.repair import caches
from agent.errors import DiskError
from agent.isolation.user import DevUser, SandboxTools
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
    caches.remove_compiler_cache(workspace)
    caches.remove_compiler_cache(workspace)

    assert [path.name for path in (workspace / ".next/dev").iterdir()] == ["lock"]
    assert not caches.is_warm(workspace)


def test_an_empty_cache_is_a_cold_one(workspace: Path) -> None:
    caches.remove_compiler_cache(workspace)
    (workspace / ".next/dev/cache").mkdir()

    assert not caches.is_warm(workspace)


def test_what_a_deletion_left_that_was_cut_short_goes_with_the_next(workspace: Path) -> None:
    (workspace / ".next/dev/cache").rename(workspace / ".next/dev/cache.removed")
    caches.remove_compiler_cache(workspace)

    assert list((workspace / ".next/dev").iterdir()) == []


def test_a_link_in_the_place_of_the_cache_is_unlinked_and_not_followed(workspace: Path, precious: Path) -> None:
    (workspace / ".next/dev/cache").rename(workspace / "elsewhere")
    (workspace / ".next/dev/cache").symlink_to(precious)
    (workspace / ".next/dev/cache.removed").symlink_to(precious)
    assert not caches.is_warm(workspace)
    caches.remove_compiler_cache(workspace)

    assert list((workspace / ".next/dev").iterdir()) == []
    assert (precious / "file").read_text() == "kept"


def test_a_link_within_the_cache_is_not_followed(workspace: Path, precious: Path) -> None:
    (workspace / ".next/dev/cache/turbopack/out").symlink_to(precious)
    caches.remove_compiler_cache(workspace)

    assert (precious / "file").read_text() == "kept"


@pytest.mark.parametrize("parent", [".next", ".next/dev"])
def test_a_link_on_the_way_to_the_cache_stops_the_removal(workspace: Path, precious: Path, parent: str) -> None:
    (precious / "cache").mkdir()
    (precious / "dev/cache").mkdir(parents=True)
    (workspace / parent).rename(workspace / "elsewhere")
    (workspace / parent).symlink_to(precious)

    assert not caches.is_warm(workspace)
    with pytest.raises(DiskError, match=r"workspace/\.next/dev/cache could not be removed: Not a directory"):
        caches.remove_compiler_cache(workspace)
    assert (precious / "cache").is_dir()
    assert (precious / "dev/cache").is_dir()


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, Path.unlink])
def test_whatever_stands_in_the_place_of_the_cache_goes(workspace: Path, make: Callable[[Path], None]) -> None:
    caches.remove_compiler_cache(workspace)
    cache = workspace / ".next/dev/cache"
    cache.touch()
    cache.unlink()
    with suppress(FileNotFoundError):
        make(cache)
    assert not caches.is_warm(workspace)
    caches.remove_compiler_cache(workspace)

    assert list((workspace / ".next/dev").iterdir()) == []


def test_a_cache_of_folders_nested_without_end_is_removed_like_any_other(workspace: Path) -> None:
    nest(workspace / ".next/dev/cache", 3000)
    caches.remove_compiler_cache(workspace)

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
                caches.remove_compiler_cache(workspace)
    finally:
        over.set()
        thread.join()

    assert (precious / "file").read_text() == "kept"


@pytest.fixture
def user(tmp_path: Path) -> DevUser:
    home = tmp_path / "home"
    for folder in (".npm/_cacache/content-v2", ".npm/_logs", ".cache/pnpm", ".bun/install/cache", ".local/share/pnpm"):
        (home / folder).mkdir(parents=True)
        (home / folder / "file").touch()
    return DevUser("me", os.getuid(), os.getgid(), home, tmp_path, SandboxTools("", "", "", ""))


def left(home: Path) -> set[str]:
    return {str(path.parent.relative_to(home)) for path in home.rglob("file")}


def test_the_package_managers_caches_are_removed_and_nothing_else_of_the_home(user: DevUser) -> None:
    caches.remove_package_caches(user)
    assert left(user.home) == {".npm/_logs", ".local/share/pnpm"}
    caches.remove_package_caches(user)
    shutil.rmtree(user.home)
    caches.remove_package_caches(user)


def test_links_in_a_home_are_not_followed(user: DevUser, precious: Path) -> None:
    (precious / "_cacache").mkdir()
    (precious / "_cacache/file").touch()
    shutil.rmtree(user.home / ".npm/_cacache")
    (user.home / ".npm/_cacache").symlink_to(precious)
    caches.remove_package_caches(user)
    shutil.rmtree(user.home / ".npm")
    (user.home / ".npm").symlink_to(precious)
    with pytest.raises(DiskError, match=r"home/\.npm/_cacache could not be removed: Not a directory"):
        caches.remove_package_caches(user)

    assert (precious / "_cacache/file").exists()
    assert (precious / "file").exists()


def test_a_home_that_is_not_the_users_is_left_alone(user: DevUser) -> None:
    with pytest.raises(DiskError, match="is not user"):
        caches.remove_package_caches(replace(user, uid=user.uid + 1))
    assert len(left(user.home)) == 5


def test_the_fuller_filesystem_counts(workspace: Path) -> None:
    space = os.statvfs(workspace)
    disk = caches.fullest(workspace)

    assert disk is not None
    assert disk.total == space.f_blocks * space.f_frsize
    assert caches.fullest(workspace / "missing") is None


def test_a_real_full_filesystem_of_its_own_below_the_workspace_is_seen(workspace: Path) -> None:
    script = (
        "import pathlib, sys; from agent.devserver.repair import caches\n"
        "workspace = pathlib.Path(sys.argv[1])\n"
        "try: (workspace / '.next/fill').write_bytes(bytes(2**20))\n"
        "except OSError: disk = caches.fullest(workspace); print(disk.free, disk.total, disk.full)"
    )
    mounted = 'mount -t tmpfs -o size=64k none "$2/.next" || exit 99; exec "$0" -c "$1" "$2"'
    try:
        ran = subprocess.run(
            ("unshare", "--mount", "sh", "-c", mounted, sys.executable, script, workspace),
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
