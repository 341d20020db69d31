"""SIGKILL at any moment: no file is ever torn, and the next start finishes or repeats the set.

The moments are drawn from a seed, which is printed: SYNC_KILL_SEED=… runs the same again (as far as the machine does).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.peers.backend_client import Place, syncing
from tests.peers.backend_honest import HonestBackend, serving

ROOT = Path(__file__).parents[2]
KILLS = 50
BURST = 0.02
"""Every other kill comes within so many seconds of a burst's first step; the rest at any moment of the whole."""

Files = dict[str, bytes]


def revision(number: int) -> Files:
    """500 files in 25 folders: in each next one some change, some go, some come, and a file becomes a folder."""
    files = {
        f"app/d{n % 25}/f{n}.tsx": b"revision %d of file %d\n" % (number if n % 3 else 0, n) * 150
        for n in range(number * 40, number * 40 + 500)
    }
    swap = {"app/swap": b"a file\n"} if number % 2 else {"app/swap/in.ts": b"in a folder\n"}
    return files | swap | {"package.json": b'{"version": %d}\n' % number}


SETS = [revision(number) for number in range(3)]
VERSIONS: dict[str, set[bytes]] = {}
for _files in SETS:
    for _path, _data in _files.items():
        VERSIONS.setdefault(_path, set()).add(_data)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """In memory where that can be had: what a kill leaves does not depend on what was forced to storage."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as home:
        yield Place(Path(home))


class Victims:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def start(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        return int(await self._line())

    async def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        assert await self._line() == b"ended\n"

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            return await self._process.stdout.readline()


@asynccontextmanager
async def victims(backend: HonestBackend, place: Place) -> AsyncIterator[Victims]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.peers.backend_victim", backend.url, str(place.home)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Victims(process)
    finally:
        process.kill()
        await process.communicate()


async def begun(place: Place) -> None:
    """Wait until the journal says that a burst has begun."""
    while b'\n{"begin"' not in (place.state / "manifest.jsonl").read_bytes():  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.001)


async def undisturbed(backend: HonestBackend, killed: Victims) -> float:
    """Seconds that a set takes here and now, from its request to the next request."""
    pid = await killed.start()
    async with asyncio.timeout(20):
        await backend.asked(1)
        began = time.monotonic()
        await backend.asked(2)
    took = time.monotonic() - began
    await killed.kill(pid)
    return took


def set_to(backend: HonestBackend, files: Files) -> None:
    backend.put(files, tuple(backend.files.keys() - files.keys()))


@pytest.mark.timeout(120)
async def test_a_kill_at_any_moment_tears_no_file_and_the_next_start_converges(place: Place) -> None:
    seed = int(os.environ.get("SYNC_KILL_SEED", "0")) or time.time_ns()
    print(f"SYNC_KILL_SEED={seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    backend = HonestBackend()
    set_to(backend, SETS[0])
    caught_in_between = 0
    async with serving(backend), victims(backend, place) as killed:
        longest = await undisturbed(backend, killed)
        for turn in range(KILLS):
            set_to(backend, SETS[(turn + 1) % 3])
            backend.seen.clear()
            pid = await killed.start()
            async with asyncio.timeout(20):
                await backend.asked(1)
                if turn % 2:
                    await begun(place)
            await asyncio.sleep(chance.uniform(0, BURST if turn % 2 else longest))
            await killed.kill(pid)

            there = place.files() if place.workspace.exists() else {}
            for path, data in there.items():
                assert data in VERSIONS[path], f"turn {turn}: {path} is torn"
            caught_in_between += there not in SETS and bool(there)

            async with syncing(place, backend) as client:
                await client.until_on_disk()
                await client.until(lambda c: c.facts.state == "current")
                assert client.problems == (), "our own half-written set is nobody's edit"
            assert not (place.state / "conflicts").exists()
            assert place.recorded().etag == backend.tag

        print(f"{caught_in_between} of {KILLS} kills came in the middle of a burst")  # noqa: T201 - for pytest -s
        assert sorted(path.name for path in place.state.iterdir()) == ["manifest.jsonl", "staging"]
        assert list((place.state / "staging").iterdir()) == []


async def test_an_agent_that_was_killed_downloads_nothing_when_the_disk_matches(place: Place) -> None:
    backend = HonestBackend()
    set_to(backend, SETS[0])
    async with serving(backend), victims(backend, place) as killed:
        pid = await killed.start()
        async with asyncio.timeout(20):
            await backend.asked(2)  # the second request is sent when the first set is on disk
        await killed.kill(pid)
        backend.seen.clear()

        async with syncing(place, backend) as client:
            await client.until(lambda c: c.facts.state == "current")

        assert place.files() == SETS[0]
        assert backend.answers()[0] == 304
        assert sum(seen.body for seen in backend.seen) == 0


async def test_what_was_damaged_while_nobody_looked_is_mended(place: Place) -> None:
    """A kill leaves no word that all is well: the next start reads every file, whatever its time stamp says."""
    backend = HonestBackend()
    set_to(backend, SETS[0])
    async with serving(backend), victims(backend, place) as killed:
        pid = await killed.start()
        async with asyncio.timeout(20):
            await backend.asked(2)
        await killed.kill(pid)
        victim = place.workspace / "package.json"
        before = victim.stat()
        victim.write_bytes(b"\0" * before.st_size)
        os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))

        async with syncing(place, backend) as client:
            await client.until_on_disk()
    assert hashlib.sha256(victim.read_bytes()).digest() == hashlib.sha256(SETS[0]["package.json"]).digest()
