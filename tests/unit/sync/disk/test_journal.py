"""The journal says what is on disk, whatever moment the last life ended at."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.sync.disk import journal as module
from agent.sync.disk.journal import FileRecord, ForeignState, Intent, JournalStep, Manifest

ONE = FileRecord("1" * 64, 3, 1_700_000_000_000_000_001, 42)
TWO = FileRecord("2" * 64, 5, 1_700_000_000_000_000_002, 43)
PUT = Intent(
    (JournalStep("folder", "app"), JournalStep("put", "app/a", ONE.sha256, "1"), JournalStep("remove", "b")), '"2"', 2
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.jsonl"


def opened(path: Path, *, app: str = "demo", api: str = "http://a") -> Manifest:
    manifest = Manifest(path, app=app, api=api)
    manifest.open()
    return manifest


def commit(manifest: Manifest, tag: str = '"1"', *, complete: bool = True, **files: FileRecord) -> None:
    manifest.commit(files, (), etag=tag, revision=1, complete=complete)


def state(manifest: Manifest) -> tuple[object, ...]:
    return (manifest.files, manifest.etag, manifest.revision, manifest.complete)


def test_the_first_life_begins_with_nothing(path: Path) -> None:
    manifest = opened(path)

    assert state(manifest) == ({}, None, None, False)
    assert not manifest.unclean
    assert manifest.damaged is None


def test_what_was_committed_is_there_in_the_next_life(path: Path) -> None:
    first = opened(path)
    commit(first, a=ONE, b=ONE)
    first.commit({"b": TWO}, ("a", "never-there"), etag='"2"', revision=2, complete=True)
    first.close()

    second = opened(path)

    assert state(second) == ({"b": TWO}, '"2"', 2, True)
    assert not second.unclean


def test_a_life_that_was_not_closed_is_unclean_once(path: Path) -> None:
    commit(opened(path), a=ONE)

    second = opened(path)
    assert second.unclean
    second.close()
    assert not opened(path).unclean


def test_closing_twice_is_closing_once(path: Path) -> None:
    manifest = opened(path)
    manifest.close()
    manifest.close()

    assert not opened(path).unclean


def test_a_burst_that_was_begun_is_found_until_it_is_committed(path: Path) -> None:
    first = opened(path)
    first.begin(PUT)

    assert opened(path).intent == PUT
    third = opened(path)
    assert third.intent == PUT, "a life that ended before it could finish leaves it to the next"
    commit(third, a=ONE)
    assert opened(path).intent is None


def test_half_a_record_never_counted(path: Path) -> None:
    first = opened(path)
    commit(first, a=ONE)
    whole = path.read_bytes()
    commit(first, tag='"2"', b=TWO)
    later = path.read_bytes()

    for end in range(len(whole), len(later)):
        path.write_bytes(later[:end])
        again = opened(path)
        assert state(again) == ({"a": ONE}, '"1"', 1, True)
        assert again.unclean


START = b'{"v": 1, "app": "demo", "api": "", "etag": null, "revision": 1, "complete": true, "files": '


@pytest.mark.parametrize(
    "journal",
    [
        b"",
        b"\n",
        b"\0\0\0\0\n",
        b"not json\n",
        b"[]\n",
        b"5\n",
        b'{"v": 2}\n',
        b'{"v": 1}\n',
        START + b"[]}\n",
        START + b'{"a": [1]}}\n',
        START + b"{}}\n7\n",
        START + b'{}}\n{"begin": 1}\n',
    ],
)
def test_a_journal_that_cannot_be_read_is_kept_aside_and_nothing_is_believed(path: Path, journal: bytes) -> None:
    path.write_bytes(journal)

    manifest = opened(path)

    assert state(manifest) == ({}, None, None, False)
    assert manifest.intent is None
    assert manifest.unclean
    assert manifest.damaged is not None
    assert path.with_suffix(".damaged").read_bytes() == journal


def test_another_apps_journal_is_not_touched(path: Path) -> None:
    commit(opened(path), a=ONE)
    before = path.read_bytes()

    with pytest.raises(ForeignState, match="demo"):
        opened(path, app="other")

    assert path.read_bytes() == before


def test_another_backends_tag_and_revision_say_nothing(path: Path) -> None:
    commit(opened(path), a=ONE)

    manifest = opened(path, api="http://b")

    assert state(manifest) == ({"a": ONE}, None, None, True)


def test_the_journal_does_not_grow_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_BYTES", 1_000)
    manifest = opened(path)

    for number in range(200):
        commit(manifest, tag=f'"{number}"', a=ONE, b=TWO)

    assert path.stat().st_size < 5_000
    assert state(opened(path)) == ({"a": ONE, "b": TWO}, '"199"', 1, True)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_commit_that_failed_does_not_count_and_the_next_makes_it_good(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    manifest = opened(path)
    commit(manifest, a=ONE)

    with monkeypatch.context() as broken:
        broken.setattr(os, call, _refuse)
        with pytest.raises(OSError, match="No space"):
            commit(manifest, tag='"2"', b=TWO)
    assert manifest.etag is None, "the set is asked for again"
    assert manifest.files == {"a": ONE, "b": TWO}, "but what is on disk is known"

    commit(manifest, tag='"3"', c=ONE)
    assert state(opened(path)) == ({"a": ONE, "b": TWO, "c": ONE}, '"3"', 1, True)


@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_a_rewrite_that_failed_loses_nothing_that_is_said_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(module, "COMPACT_BYTES", -10_000)  # every commit writes the whole state
    manifest = opened(path)
    commit(manifest, a=ONE)

    for nth in range(1, 4):
        with monkeypatch.context() as broken:
            broken.setattr(os, call, _refuse_from(getattr(os, call), nth))
            try:
                commit(manifest, tag='"2"', b=TWO)
            except OSError:
                assert manifest.etag is None
        monkeypatch.setattr(module, "COMPACT_BYTES", 10_000)
        commit(manifest, tag=f'"{nth}"', c=TWO)
        assert state(opened(path)) == ({"a": ONE, "b": TWO, "c": TWO}, f'"{nth}"', 1, True)
        manifest = opened(path)
        monkeypatch.setattr(module, "COMPACT_BYTES", -10_000)


def test_failures_do_not_use_up_descriptors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = opened(path)
    monkeypatch.setattr(module, "COMPACT_BYTES", -10_000)
    before = len(list(Path("/proc/self/fd").iterdir()))

    monkeypatch.setattr(os, "fsync", _refuse)
    for _ in range(20):
        with pytest.raises(OSError, match="No space"):
            commit(manifest, a=ONE)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def _refuse(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def _refuse_from(call: Callable[..., object], nth: int) -> Callable[..., object]:
    done = 0

    def refuse(*arguments: object, **named: object) -> object:
        nonlocal done
        done += 1
        if done >= nth:
            _refuse()
        return call(*arguments, **named)

    return refuse


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable())
RECORDS = st.builds(
    FileRecord,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.integers(0, 2**40),
    st.integers(-(2**62), 2**62),
    st.integers(0, 2**63 - 1),
)
CHANGES = st.tuples(
    st.dictionaries(NAMES, RECORDS, max_size=4), st.lists(NAMES, max_size=3), st.none() | NAMES, st.booleans()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(changes=st.lists(CHANGES, max_size=5))
def test_any_story_is_told_the_same_to_the_next_life(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[dict[str, FileRecord], list[str], str | None, bool]]
) -> None:
    path = tmp_path_factory.mktemp("story") / "manifest.jsonl"
    manifest = opened(path)

    for files, removed, tag, complete in changes:
        manifest.commit(files, removed, etag=tag, revision=None, complete=complete)

    assert state(opened(path)) == state(manifest)
