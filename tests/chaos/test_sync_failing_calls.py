"""Every call to the system fails once, one after the other: after each, the next life reads the journal, and converges.

The n-th call that the disk's side makes is refused with EIO, for n = 1, 2, 3… until a whole story goes through; no file
may ever be torn, and what the manifest says must be true of the disk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.errors import AgentError
from agent.sync.disk.store import Disk
from agent.sync.plan import plan
from tests.peers.backend_client import Place
from tests.peers.backend_sets import Set, known, sha, whole

CALLS = [
    *("open", "close", "write", "rename", "replace", "unlink", "mkdir", "rmdir", "link", "stat", "lstat", "fstat"),
    *("fsync", "fdatasync", "scandir", "ftruncate"),
]
FIRST: Set = {"app/a.ts": b"1", "app/b.ts": b"1", "lib/c.ts": b"1", "swap": b"1", "package.json": b"1"}
SECOND: Set = {"app/a.ts": b"2", "new/deep/d.ts": b"2", "swap/in.ts": b"2", "lib": b"2", "package.json": b"2"}
THIRD: Set = {"app/a.ts": b"3", "same.ts": b"3", "other.ts": b"3", "package.json": b"2"}
STORY = (FIRST, SECOND, THIRD)


class Killed(BaseException):
    """The process is no more: whatever it still does has no effect."""


class Refusals:
    """Stands in front of the system's calls; refuses the one whose turn it is, and from then on none. With `kill`,
    neither it nor any later one has an effect.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nth: int, *, kill: bool = False) -> None:
        self.nth = nth
        self.kill = kill
        self.count = 0
        self.refused: str | None = None
        for name in CALLS:
            monkeypatch.setattr(os, name, self._guard(name, getattr(os, name)))

    def _guard(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.kill and self.count >= self.nth:
                self.refused = self.refused or name
                if name == "close":  # the system does that for the dead
                    call(*arguments, **named)
                raise Killed
            if self.count == self.nth:
                self.refused = name
                if name == "close":
                    call(*arguments, **named)  # the descriptor is gone all the same
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*arguments, **named)

        return guarded


def turn(disk: Disk, files: Set, tag: str) -> None:
    """What the loop does with one whole set."""
    before = {path: record.sha256 for path, record in disk.manifest.files.items()}
    stale = disk.find_stale(read=False)
    for path, data in files.items():
        if before.get(path) != sha(data) or path in stale:
            disk.stage_bytes(sha(data), data)
    disk.apply(plan(before, whole(files), delta=False, stale=stale), etag=tag, revision=1)


def live(place: Place, story: tuple[Set, ...], tries: int = 3) -> None:
    """One life that goes through the story; a set that fails is asked for again, as the loop does."""
    disk = place.disk()
    try:
        disk.open()
        for number, files in enumerate(story):
            for _ in range(tries):
                try:
                    turn(disk, files, f'"{number}"')
                except AgentError:
                    continue
                if disk.manifest.etag is not None:
                    break
    finally:
        disk.close()


def check_untorn(place: Place, nth: int) -> None:
    for path, data in place.files().items():
        versions = {files.get(path) for files in STORY}
        assert data in versions, f"call {nth}: {path} holds {data!r}"


@pytest.fixture(autouse=True)
def quick_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here outlives the machine's power: forcing to storage is counted and refused, and not waited for."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)


@pytest.mark.parametrize("retries", [True, False], ids=["in the same life", "in the next life"])
def test_whichever_call_fails_the_disk_converges(tmp_path: Path, *, retries: bool) -> None:
    nth = 0
    refused: list[str] = []
    while True:
        nth += 1
        place = Place(tmp_path / str(nth))
        place.home.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch:
            refusals = Refusals(monkeypatch, nth)
            with suppress(AgentError):  # and nothing else may come out
                live(place, STORY if retries else STORY[:2], tries=3 if retries else 1)
        if refusals.refused is None:
            break
        refused.append(refusals.refused)
        check_untorn(place, nth)

        live(place, STORY[1:])
        assert place.files() == THIRD, f"after call {nth} ({refusals.refused}) failed"
        manifest = place.recorded()
        assert {path: record.sha256 for path, record in manifest.files.items()} == known(THIRD)
        assert manifest.etag == '"1"'
        assert not manifest.unclean
        assert manifest.damaged is None
        assert list((place.state / "staging").iterdir()) == []
    assert {"open", "write", "rename", "unlink", "mkdir", "fdatasync", "fsync"} <= set(refused)


def test_a_kill_before_any_call_is_made_good_by_the_next_life(tmp_path: Path) -> None:
    for nth in range(1, 10_000):
        place = Place(tmp_path / str(nth))
        place.home.mkdir()
        live(place, STORY[:1])
        with pytest.MonkeyPatch.context() as monkeypatch:
            refusals = Refusals(monkeypatch, nth, kill=True)
            with suppress(Killed):
                live(place, STORY[1:])
        if refusals.refused is None:
            return
        check_untorn(place, nth)

        disk = place.disk()
        outcome = disk.open()
        where = f"killed before call {nth} ({refusals.refused})"
        assert outcome.notes == (), f"{where}: our own half-written set is nobody's edit"
        assert outcome.unfinished is None, where
        turn(disk, THIRD, '"3"')
        disk.close()
        assert place.files() == THIRD, where
        assert not (place.state / "conflicts").exists(), where
        assert list((place.state / "staging").iterdir()) == [], where


def test_whichever_call_fails_no_descriptor_stays_open(tmp_path: Path) -> None:
    fds = Path("/proc/self/fd")
    for nth in range(1, 10_000):
        place = Place(tmp_path / str(nth))
        place.home.mkdir()
        before = len(list(fds.iterdir()))
        with pytest.MonkeyPatch.context() as monkeypatch:
            refusals = Refusals(monkeypatch, nth)
            with suppress(AgentError):
                live(place, STORY[:2])
        if refusals.refused is None:
            return
        assert len(list(fds.iterdir())) == before, f"call {nth} ({refusals.refused})"
