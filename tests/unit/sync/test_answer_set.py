"""What an answer wants is gathered entry by entry, and what of it is refused is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import BadAnswer
from agent.paths import MAX_FILE_BYTES, overlapping
from agent.sync import answer_set
from agent.sync.answer_set import AnswerSet
from tests.peers.backend_sets import PATHS

ONE, TWO = "1" * 64, "2" * 64


def collected(*entries: tuple[str, str]) -> AnswerSet:
    result = AnswerSet()
    for path, sha256 in entries:
        result.add(path, sha256, 1)
    return result


def test_a_refused_path_does_not_cost_the_others() -> None:
    answer = collected(("../up", ONE), ("app/page.tsx", ONE))

    assert set(answer.files) == {"app/page.tsx"}
    assert set(answer.refused) == {"../up"}


def test_a_file_over_its_limit_is_refused_alone() -> None:
    answer = AnswerSet()

    assert not answer.add("big.bin", ONE, MAX_FILE_BYTES + 1)
    assert answer.add("fits.bin", ONE, MAX_FILE_BYTES)
    assert "10,485,761" in answer.refused["big.bin"]


def test_a_path_that_is_named_twice_alike_is_named_once() -> None:
    answer = collected(("a", ONE), ("a", ONE))

    assert set(answer.files) == {"a"}
    assert not answer.refused


def test_a_path_that_is_named_twice_with_different_contents_is_refused_for_good() -> None:
    answer = collected(("a", ONE), ("a", TWO), ("a", ONE))

    assert not answer.files
    assert set(answer.refused) == {"a"}


@pytest.mark.parametrize("deleted_first", [True, False])
def test_a_path_that_is_both_written_and_deleted_is_refused(*, deleted_first: bool) -> None:
    answer = AnswerSet()
    if deleted_first:
        answer.delete("a")
    answer.add("a", ONE, 1)
    if not deleted_first:
        answer.delete("a")

    assert (answer.files, answer.deleted, set(answer.refused)) == ({}, set(), {"a"})


def test_a_file_and_what_lies_in_it_are_refused_together() -> None:
    answer = collected(("a", ONE), ("a/b", ONE), ("c", ONE))
    answer.refuse_overlaps()

    assert set(answer.files) == {"c"}
    assert set(answer.refused) == {"a", "a/b"}


def test_a_refused_file_still_takes_its_place() -> None:
    answer = AnswerSet()
    answer.add("a", ONE, MAX_FILE_BYTES + 1)
    answer.add("a/b", ONE, 1)
    answer.refuse_overlaps()

    assert not answer.files, "the disk may hold an older a, which stays"


def test_a_delta_does_not_write_below_a_file_that_stays() -> None:
    answer = collected(("a/b", ONE))
    answer.refuse_overlaps(frozenset({"a", "c"}))
    assert set(answer.refused) == {"a/b"}

    swapped = collected(("a/b", ONE))
    swapped.delete("a")
    swapped.refuse_overlaps(frozenset({"a", "c"}))
    assert set(swapped.files) == {"a/b"}


def test_too_many_files_refuse_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_set, "MAX_FILES", 2)

    with pytest.raises(BadAnswer, match="more than 2 files"):
        collected(("a", ONE), ("b", ONE), ("c", ONE))


def test_too_many_bytes_refuse_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_set, "MAX_SET_BYTES", 2)

    with pytest.raises(BadAnswer, match="more than 2 bytes"):
        collected(("a", ONE), ("b", ONE), ("c", ONE))


def test_refused_files_do_not_count_against_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_set, "MAX_SET_BYTES", 2)

    assert set(collected(("a", ONE), ("b", ONE), ("a", TWO), ("c", ONE)).files) == {"b", "c"}


def test_an_answer_cannot_grow_without_end_beside_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_set, "MAX_FILES", 3)
    answer = collected(("../1", ONE), ("../2", ONE), ("../3", ONE))
    for path in "abc":
        answer.delete(path)

    with pytest.raises(BadAnswer, match="refused"):
        answer.add("../4", ONE, 1)
    with pytest.raises(BadAnswer, match="deletes more than 3"):
        answer.delete("d")


def test_a_delta_may_not_make_the_whole_outgrow_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_set, "MAX_FILES", 3)
    answer = collected(("new", ONE), ("changed", ONE))

    answer.check_limits(1, 1)
    with pytest.raises(BadAnswer, match="more than 3 files"):
        answer.check_limits(2, 2)


ENTRIES = st.lists(
    st.tuples(st.sampled_from(["file", "delete"]), PATHS | st.sampled_from(["", "..", "a/.git"]), st.integers(1, 2))
)


@given(ENTRIES, st.frozensets(PATHS).map(lambda paths: paths - overlapping(paths)))
def test_no_path_stands_in_two_lists_and_nothing_overlaps(
    entries: list[tuple[str, str, int]], others: frozenset[str]
) -> None:
    answer = AnswerSet()
    for kind, path, number in entries:
        if kind == "file":
            answer.add(path, str(number) * 64, number)
        else:
            answer.delete(path)
    answer.refuse_overlaps(others)

    lists = [set(answer.files), answer.deleted, set(answer.refused)]
    assert sum(map(len, lists)) == len(set.union(*lists))
    result = (answer.files.keys() | others) - answer.deleted
    assert not overlapping(result)
    assert answer._bytes == sum(wanted.size for wanted in answer.files.values())
