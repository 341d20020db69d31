"""What stands in the stage is whole, and what is not leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from agent.sync.disk.staging import Stage

DATA = b"export default 1\n"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "staging")


def names(stage: Stage) -> set[str]:
    with os.scandir(stage.folder) as entries:
        return {entry.name for entry in entries}


def test_bytes_stand_under_their_hash_and_their_record_is_true(stage: Stage, tmp_path: Path) -> None:
    stage.add(sha(DATA), DATA)

    assert (tmp_path / "staging" / sha(DATA)).read_bytes() == DATA
    there = (tmp_path / "staging" / sha(DATA)).stat()
    assert stage.record(sha(DATA), sha(DATA)) == (sha(DATA), len(DATA), there.st_mtime_ns, there.st_ino)


def test_a_second_path_of_the_same_bytes_gets_a_copy_of_its_own(stage: Stage) -> None:
    stage.add(sha(DATA), DATA)

    copy = stage.name_to_rename(sha(DATA), 3, again=True)
    last = stage.name_to_rename(sha(DATA), 4, again=False)

    assert {copy, last} == names(stage)
    assert stage.record(copy, sha(DATA)).inode != stage.record(last, sha(DATA)).inode


@pytest.mark.parametrize("pieces", [[], [b""], [DATA], [DATA[:3], DATA[3:]]])
def test_bytes_that_come_in_pieces_stand_once_they_are_whole(stage: Stage, pieces: list[bytes]) -> None:
    receiver = stage.open_writer(sha(b"".join(pieces)))
    for piece in pieces:
        receiver.write(piece)
    assert not stage.has(sha(b"".join(pieces)))

    assert receiver.finish()
    assert names(stage) == {sha(b"".join(pieces))}


def test_wrong_bytes_leave_nothing(stage: Stage) -> None:
    receiver = stage.open_writer(sha(DATA))
    receiver.write(b"something else")

    assert not receiver.finish()
    receiver.abandon()
    assert names(stage) == set()
    assert not stage.has(sha(DATA))


def test_a_receiver_that_is_given_up_leaves_nothing(stage: Stage) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    stage.open_writer(sha(DATA))  # and forgotten
    receiver = stage.open_writer(sha(DATA))
    receiver.write(DATA)
    receiver.abandon()
    receiver.abandon()

    assert names(stage) == set()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_a_kill_left_half_written_is_dropped(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "staging" / sha(DATA)).write_bytes(DATA[:4])
    stage.drop_unless(sha(DATA), sha(DATA))
    assert names(stage) == set()

    stage.drop_unless(sha(DATA), sha(DATA))
    stage.add(sha(DATA), DATA)
    stage.drop_unless(sha(DATA), sha(DATA))
    assert names(stage) == {sha(DATA)}


def test_a_write_that_failed_is_not_taken_for_staged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            stage.add(sha(DATA), DATA)

    assert not stage.has(sha(DATA))
    assert names(stage) == set()


def test_clearing_takes_everything(stage: Stage, tmp_path: Path) -> None:
    stage.add(sha(DATA), DATA)
    (tmp_path / "staging" / "left.part").write_bytes(b"")
    (tmp_path / "staging" / "a-folder").mkdir()

    stage.clear()

    assert names(stage) == {"a-folder"}, "not ours, and in nobody's way"
    assert not stage.has(sha(DATA))
    stage.close()
    stage.close()
