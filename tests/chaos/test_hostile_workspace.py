"""What user code may have left in the workspace for the sync to find: nothing hangs it, nothing leads it outside."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agent.paths import MAX_FILE_BYTES
from agent.sync.disk import workspace_tree
from agent.sync.plan import Put, plan
from tests.peers.backend_client import Place
from tests.peers.backend_sets import Set, sha, whole
from tests.peers.plain import PlainBackend, plain_backend
from tests.peers.small_disk import small_disk
from tests.peers.split import NOBODY, PYTHON, as_nobody, needs_split, open_folder
from tests.peers.stack import stack

pytestmark = [needs_split, pytest.mark.timeout(90)]

HOSTILE = Path(__file__).parents[1] / "peers" / "hostile.py"
FILES: Set = {
    f"app/{name}.ts": b"of the app" for name in ("fifo", "socket", "link", "sparse", "closed", "folder/in", "own")
}

PLANT = """
import os, socket, sys
os.makedirs("app/folder"), os.makedirs("deep")
os.mkfifo("app/fifo.ts"), os.mkfifo("fifo")
for name in ("app/socket.ts", "socket"):
    socket.socket(socket.AF_UNIX).bind(name)
os.symlink(sys.argv[1], "app/link.ts"), os.symlink("/proc/self/mem", "mem"), os.symlink("/dev/zero", "zero")
os.symlink("loop", "loop"), os.symlink("..", "up")
for name, size in (("app/sparse.ts", 2**43), ("sparse", 2**43), ("same-size", 10)):
    os.truncate(os.open(name, os.O_CREAT | os.O_RDWR), size)
open("app/closed.ts", "w").close(), os.chmod("app/closed.ts", 0), os.chmod("app/folder", 0)
for name in (b"\\xff\\xfe", b"line\\nbreak", b"-rf", b"x" * 255, "\\u202egpj.exe".encode()):
    open(os.path.join(b"deep", name), "wb").close()
os.mkdir("closed"), open("closed/in", "w").close(), os.chmod("closed", 0)
at = os.open("deep", os.O_RDONLY)
for _ in range(600):  # deeper than a path may be long
    os.mkdir("d" * 20, dir_fd=at)
    at = os.open("d" * 20, os.O_RDONLY, dir_fd=at)
"""


@pytest.fixture
def place() -> Iterator[Place]:
    with open_folder() as folder:
        yield Place(folder, owner=(NOBODY, NOBODY))
        subprocess.run(["rm", "-rf", str(folder)], check=False)  # shutil fails on what is nested that deep


def test_whatever_lies_where_the_sync_writes_and_looks_is_survived(place: Place) -> None:
    outside = place.home / "outside"
    outside.write_bytes(b"outside")
    disk = place.disk()
    disk.open()
    planted = as_nobody(place.home, PLANT, str(outside), cwd=place.workspace)
    assert planted.returncode == 0, planted.stderr
    assert disk.stage_from_disk([Put("new.ts", sha(b"0123456789"), 10)])  # walks everything; finds nothing
    for data in FILES.values():
        disk.stage_bytes(sha(data), data)
    outcome = disk.apply(plan({}, whole(FILES), delta=False, stale=frozenset()), etag="1", revision=1)
    assert outcome.unfinished is None, outcome
    disk.close()
    for path, data in FILES.items():
        there = place.workspace / path
        assert not there.is_symlink()
        assert there.read_bytes() == data
        assert there.stat().st_uid == NOBODY
    assert outside.read_bytes() == b"outside"


def test_a_file_of_holes_with_too_many_names_is_not_copied(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be linked aside it would be copied, and this one has 8 TiB."""
    disk = place.disk()
    disk.open()
    for data in (b"1", b"2"):
        disk.stage_bytes(sha(data), data)
    disk.apply(plan({}, whole({"a.ts": b"1"}), delta=False, stale=frozenset()), etag="1", revision=1)
    os.truncate(place.workspace / "a.ts", 2**43)

    def refused(*_: object, **__: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refused)
    known = {"a.ts": sha(b"1")}
    disk.stage_bytes(sha(b"2"), b"2")
    outcome = disk.apply(plan(known, whole({"a.ts": b"2"}), delta=False, stale=frozenset()), etag="2", revision=2)
    monkeypatch.undo()
    disk.close()
    assert "to more than an app's file may have" in outcome.notes[0][1]
    assert place.files() == {"a.ts": b"2"}
    kept = [path for path in (place.state / "conflicts").rglob("*") if path.is_file()]
    assert all(path.stat().st_size <= MAX_FILE_BYTES for path in kept)


def test_a_walk_through_millions_of_names_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sync.disk.workspace_tree._ENTRIES_MOST", 50)
    disk = place.disk()
    disk.open()
    for number in range(100):
        (place.workspace / f"{number:03}").write_bytes(b"0123456789")
    looked_at = 0
    hash_before = workspace_tree._hash

    def counted(name: str, folder: int) -> str:
        nonlocal looked_at
        looked_at += 1
        return hash_before(name, folder)

    monkeypatch.setattr("agent.sync.disk.workspace_tree._hash", counted)
    disk.stage_from_disk([Put("new.ts", sha(b"other byte"), 10)])
    disk.close()
    assert looked_at == 50


@pytest.fixture
def little_room() -> Iterator[Path]:
    with open_folder() as folder, small_disk(folder, 8 * 2**20):
        yield folder


@pytest.fixture
async def api(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[PlainBackend]:
    async with plain_backend(tmp_path, free_port()) as backend:
        yield backend


async def test_a_disk_that_the_app_filled_is_said_and_the_sync_goes_on_once_there_is_room(
    little_room: Path, tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    shutil.copy(HOSTILE, little_room / "hostile.py")
    await api.put({"app/page.tsx": "first"})
    command = shlex.join([PYTHON, "-S", "-E", str(little_room / "hostile.py"), "{port}", "fill", "1", "1"])
    environ = {"DEV_USER": str(NOBODY), "DEV_COMMAND": command, "POLL_INTERVAL": "100ms"}
    environ["STATE_DIR"] = str(little_room / "state")
    async with stack(tmp_path, little_room / "app", api.url, free_port, **environ) as it:
        await it.ready()
        full = await it.until(lambda _: (little_room / "app" / "filler").exists() and free(little_room) == 0)
        assert full["sync"]["state"] == "current"
        await api.put({"app/page.tsx": "second " * 10_000})
        failing = await it.until(lambda status: status["sync"]["state"] == "failing")
        assert "No space left on device" in failing["sync"]["failure"]["message"]
        assert (little_room / "app" / "app" / "page.tsx").read_text() == "first"
        (little_room / "app" / "enough").unlink()
        await it.until(lambda status: status["sync"]["state"] == "current")
        assert (little_room / "app" / "app" / "page.tsx").read_text() == "second " * 10_000
        assert it.agent.child.returncode is None


def free(folder: Path) -> int:
    return os.statvfs(folder).f_bavail
