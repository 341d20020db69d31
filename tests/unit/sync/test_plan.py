"""The plan turns what is on disk into what the backend wants, in an order that hurts nobody; or it holds back."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.paths import folders_of, is_config
from agent.sync.answer_set import AnswerSet
from agent.sync.plan import (
    CONFIRM_SECONDS,
    Folder,
    HeldBack,
    MassDeletion,
    Operation,
    Put,
    Remove,
    hold_back,
    plan,
    removals,
    split_for_install,
)
from tests.peers.backend_sets import PATHS, SETS, Set, delta, known, sha, whole


@dataclass
class Model:
    """A disk that refuses what a real one refuses."""

    files: dict[str, str]
    folders: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folders = {folder for path in self.files for folder in folders_of(path)}

    def do(self, operation: Operation) -> None:
        match operation:
            case Folder(path):
                for place in (*folders_of(path), path):
                    assert place not in self.files, f"{path} needs a folder where {place} is a file"
                    self.folders.add(place)
            case Put(path, sha256, _):
                assert path not in self.folders, f"{path} is a folder"
                assert all(folder in self.folders for folder in folders_of(path)), f"{path} has no folder"
                self.files[path] = sha256
            case Remove(path):
                del self.files[path]
                self._prune()

    def _prune(self) -> None:
        needed = {folder for path in self.files for folder in folders_of(path)}
        self.folders &= needed


@given(SETS, SETS)
def test_a_whole_set_becomes_the_disk(local: Set, remote: Set) -> None:
    disk = Model(known(local))

    for operation in plan(known(local), whole(remote), delta=False):
        disk.do(operation)

    assert disk.files == known(remote)
    assert disk.folders == {folder for path in remote for folder in folders_of(path)}


@given(SETS, SETS)
def test_a_delta_becomes_the_disk(local: Set, remote: Set) -> None:
    disk = Model(known(local))

    for operation in plan(known(local), delta(local, remote), delta=True):
        disk.do(operation)

    assert disk.files == known(remote)


@given(SETS, SETS, st.sets(PATHS))
def test_what_is_needed_at_once_comes_first_and_the_end_is_the_same(local: Set, remote: Set, needed: set[str]) -> None:
    operations = plan(known(local), whole(remote), delta=False)
    ahead, rest = split_for_install(operations, needed.__contains__)
    disk = Model(known(local))

    for operation in ahead:
        disk.do(operation)
    for path in needed:
        assert disk.files.get(path) == known(remote).get(path)
    for operation in rest:
        disk.do(operation)

    assert disk.files == known(remote)
    assert sorted(map(str, (*ahead, *rest))) == sorted(map(str, operations))


@given(SETS, SETS)
def test_at_any_moment_each_file_is_old_or_new(local: Set, remote: Set) -> None:
    old, new = known(local), known(remote)
    disk = Model(dict(old))

    for operation in plan(old, whole(remote), delta=False):
        disk.do(operation)
        for path in old.keys() | new.keys():
            assert disk.files.get(path) in {old.get(path), new.get(path)}


@given(SETS)
def test_what_is_there_needs_nothing(files: Set) -> None:
    assert plan(known(files), whole(files), delta=False) == ()
    assert plan(known(files), delta(files, files), delta=True) == ()


@given(SETS, st.data())
def test_what_was_changed_on_the_disk_is_written_again(files: Set, data: st.DataObject) -> None:
    stale = frozenset(data.draw(st.sets(st.sampled_from(sorted(files))))) if files else frozenset()

    operations = plan(known(files), whole(files), delta=False, stale=stale)

    assert {operation.path for operation in operations if isinstance(operation, Put)} == stale


@given(SETS, SETS)
def test_sources_come_before_configuration_and_deletions_last(local: Set, remote: Set) -> None:
    operations = plan(known(local), whole(remote), delta=False)

    ranks = [_rank(operation, local, remote) for operation in operations]

    assert ranks == sorted(ranks)


def _rank(operation: Operation, local: Set, remote: Set) -> int:
    match operation:
        case Folder():
            return 1
        case Put(path):
            return 4 if is_config(path) else 3 if path in local else 2
        case Remove(path):
            blocks = any(path in folders_of(other) or other in folders_of(path) for other in remote)
            return 0 if blocks else 5


@given(SETS, SETS)
def test_a_file_that_stands_in_the_way_goes_first_and_no_other(local: Set, remote: Set) -> None:
    operations = plan(known(local), whole(remote), delta=False)

    first_put = next((place for place, operation in enumerate(operations) if not isinstance(operation, Remove)), 0)

    for operation in operations[:first_put]:
        assert any(
            operation.path in folders_of(path) or path in folders_of(operation.path) for path in remote.keys() - local
        )


def test_a_refused_path_stays_as_it_is_on_the_disk() -> None:
    answer_set = AnswerSet()
    answer_set.add("big.ts", sha(b"new"), 11 * 1024 * 1024)
    answer_set.add("page.tsx", sha(b"new"), 3)

    operations = plan({"big.ts": sha(b"old"), "page.tsx": sha(b"old")}, answer_set, delta=False)

    assert operations == (Put("page.tsx", sha(b"new"), 3),)


def test_a_delta_leaves_alone_what_it_does_not_name() -> None:
    answer_set = AnswerSet()
    answer_set.delete("gone.ts")
    answer_set.delete("never-there.ts")

    assert plan({"gone.ts": "1", "stays.ts": "2"}, answer_set, delta=True) == (Remove("gone.ts"),)


# What is held back.

MANY = {f"app/{number}.tsx": sha(b"1") for number in range(10)}


def decide(
    answer_set: AnswerSet,
    *,
    on_disk: dict[str, str] = MANY,
    revision: int | None = None,
    last: int | None = None,
    pending: MassDeletion | None = None,
    now: float = 0.0,
) -> HeldBack | None:
    return hold_back(on_disk, answer_set, revision=revision, last_revision=last, pending=pending, now=now)


def few(count: int) -> AnswerSet:
    return whole(dict.fromkeys(sorted(MANY)[:count], b"1"))


def test_an_empty_set_is_held_back_while_files_are_managed() -> None:
    assert decide(AnswerSet()) is not None
    assert decide(AnswerSet(), on_disk={"only.ts": "1"}) is not None


def test_an_empty_set_is_never_obeyed_for_being_said_often() -> None:
    pending = MassDeletion(frozenset(MANY), 50, 0.0)

    assert decide(AnswerSet(), pending=pending, now=3_600.0) is not None


@pytest.mark.parametrize(("revision", "last", "obeyed"), [(8, 7, True), (7, 7, False), (6, 7, False), (None, 7, False)])
def test_an_empty_set_is_obeyed_with_a_revision_above_the_last_one(
    revision: int | None, last: int, *, obeyed: bool
) -> None:
    assert (decide(AnswerSet(), revision=revision, last=last) is None) == obeyed


def test_an_empty_set_is_fine_where_nothing_is_managed() -> None:
    assert decide(AnswerSet(), on_disk={}) is None


@pytest.mark.parametrize(("left", "held"), [(4, True), (5, False), (10, False)])
def test_a_set_that_deletes_more_than_half_is_held_back(left: int, *, held: bool) -> None:
    assert (decide(few(left)) is not None) == held


def test_nine_files_are_no_mass() -> None:
    nine = dict(sorted(MANY.items())[:9])

    assert decide(few(1), on_disk=nine) is None


def test_a_mass_deletion_is_obeyed_with_a_revision_above_the_last_one() -> None:
    assert decide(few(1), revision=2, last=1) is None


def test_a_mass_deletion_is_obeyed_once_it_was_said_three_times_over_ten_seconds() -> None:
    first = decide(few(1), now=100.0)
    assert first is not None
    second = decide(few(1), pending=first.pending, now=105.0)
    assert second is not None
    early = decide(few(1), pending=second.pending, now=100.0 + CONFIRM_SECONDS - 0.1)

    assert early is not None
    assert decide(few(1), pending=second.pending, now=100.0 + CONFIRM_SECONDS) is None
    assert decide(few(1), pending=first.pending, now=100.0 + CONFIRM_SECONDS) is not None, "that is only twice"


def test_another_mass_deletion_starts_to_count_anew() -> None:
    first = decide(few(1), now=0.0)
    assert first is not None
    again = decide(few(2), pending=MassDeletion(frozenset(MANY), 9, 0.0), now=60.0)

    assert again is not None
    assert again.pending == MassDeletion(removals(MANY, few(2), delta=False), 1, 60.0)


@given(SETS, SETS, st.none() | st.integers(0, 5), st.none() | st.integers(0, 5))
def test_what_is_obeyed_at_once_deletes_little_or_is_vouched_for(
    local: Set, remote: Set, revision: int | None, last: int | None
) -> None:
    answer_set = whole(remote)

    held_back = decide(answer_set, on_disk=known(local), revision=revision, last=last)

    removed = removals(known(local), answer_set, delta=False)
    if held_back is None and not (revision is not None and revision > (last or 0)):
        assert len(local) < 10 or len(removed) * 2 <= len(local)
        assert not local or answer_set.files
