"""The loop asks eagerly where a backend holds requests, politely where it does not, and never without a pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import MAX_RETRY_AFTER
from agent.sync.poll_policy import (
    BACKOFF_BASE,
    BACKOFF_CAP,
    BROKEN_HOLDS,
    DISK_CHECK_SECONDS,
    LONGEST_DISK_CHECK_SECONDS,
    NO_HOLDS_SECONDS,
    PollState,
    poll_pause,
)
from agent.sync.protocol.exchange import FilesRequest

TAG = '"7"'
HELD = FilesRequest(TAG, 25)


def test_a_request_is_held_only_against_a_tag() -> None:
    assert PollState().next_request(TAG, wait=25, now=0) == HELD
    assert PollState().next_request(None, wait=25, now=0) == FilesRequest(None)
    assert PollState(whole=True).next_request(TAG, wait=25, now=0) == FilesRequest(None)


def test_news_of_a_held_request_are_followed_by_the_next_at_once() -> None:
    _, pauses = PollState().after_answer(HELD, effect="changed", held=True, tagged=True, took=0.0)

    assert not pauses


def test_a_hold_that_ran_out_is_followed_by_the_next_at_once() -> None:
    _, pauses = PollState().after_answer(HELD, effect="unchanged", held=True, tagged=True, took=25.0)

    assert not pauses


def test_who_does_not_hold_is_polled() -> None:
    for effect in ("changed", "unchanged"):
        _, pauses = PollState().after_answer(HELD, effect=effect, held=False, tagged=True, took=0.1)
        assert pauses


def test_who_says_that_it_held_and_answers_at_once_is_polled() -> None:
    _, pauses = PollState().after_answer(HELD, effect="unchanged", held=True, tagged=True, took=0.01)

    assert pauses


def test_what_is_held_back_is_asked_again_after_a_pause() -> None:
    _, pauses = PollState().after_answer(HELD, effect="held back", held=True, tagged=True, took=25.0)

    assert pauses


def test_after_the_first_set_it_is_found_out_at_once_whether_the_backend_holds() -> None:
    _, pauses = PollState().after_answer(FilesRequest(None), effect="changed", held=False, tagged=True, took=1.0)
    assert not pauses

    _, pauses = PollState().after_answer(FilesRequest(None), effect="changed", held=False, tagged=False, took=1.0)
    assert pauses, "without a tag there is nothing to hold against"


def test_holds_that_break_off_are_given_up_for_a_while() -> None:
    state = PollState()
    for _ in range(BROKEN_HOLDS):
        assert state.next_request(TAG, wait=25, now=100) == HELD
        state = state.after_failure(HELD, broke_off=True, drop_tag=False, took=10, now=100)

    assert state.next_request(TAG, wait=25, now=100 + NO_HOLDS_SECONDS - 1) == FilesRequest(TAG)
    assert state.next_request(TAG, wait=25, now=100 + NO_HOLDS_SECONDS) == HELD


@pytest.mark.parametrize(("broke_off", "took"), [(True, 0.1), (False, 10)])
def test_a_refusal_or_a_failure_at_once_says_nothing_about_holding(*, broke_off: bool, took: float) -> None:
    state = PollState()
    for _ in range(9):
        state = state.after_failure(HELD, broke_off=broke_off, drop_tag=False, took=took, now=100)

    assert state.next_request(TAG, wait=25, now=100) == HELD


def test_an_answer_in_between_shows_that_holds_get_through() -> None:
    state = PollState()
    for _ in range(9):
        state = state.after_failure(HELD, broke_off=True, drop_tag=False, took=10, now=100)
        state, _ = state.after_answer(HELD, effect="unchanged", held=True, tagged=True, took=25)

    assert state.next_request(TAG, wait=25, now=100) == HELD


def test_an_answer_to_a_request_that_was_not_held_says_nothing_about_holding() -> None:
    state = PollState()
    for _ in range(BROKEN_HOLDS):
        state = state.after_failure(HELD, broke_off=True, drop_tag=False, took=10, now=100)
        state, _ = state.after_answer(FilesRequest(TAG), effect="unchanged", held=False, tagged=True, took=0.1)

    assert state.next_request(TAG, wait=25, now=100) == FilesRequest(TAG)


def test_an_answer_that_cannot_be_built_upon_asks_for_the_whole_set_until_it_came() -> None:
    state = PollState().after_failure(HELD, broke_off=False, drop_tag=True, took=0, now=0)
    state = state.after_failure(FilesRequest(None), broke_off=True, drop_tag=False, took=0, now=0)
    assert state.next_request(TAG, wait=25, now=0) == FilesRequest(None)

    state, _ = state.after_answer(FilesRequest(None), effect="unchanged", held=False, tagged=True, took=0)
    assert state.next_request(TAG, wait=25, now=0) == HELD


def test_what_was_found_on_the_disk_asks_for_the_whole_set_ever_more_seldom() -> None:
    state = PollState().after_disk_check(found=True, again=False, now=0)
    assert state.next_request(TAG, wait=25, now=0) == FilesRequest(None)
    assert state.check_disk_at == DISK_CHECK_SECONDS

    for _ in range(20):
        state = state.after_disk_check(found=True, again=True, now=0)
    assert state.check_disk_every == LONGEST_DISK_CHECK_SECONDS

    assert state.after_disk_check(found=False, again=False, now=0).check_disk_every == DISK_CHECK_SECONDS


def test_the_backends_word_is_kept() -> None:
    assert PollState(tries=1).retry_pause(retry_after=7.0, chance=0.5) == 7.0
    assert PollState(tries=9).retry_pause(retry_after=7.0, chance=0.99) == 7.0


def test_a_word_of_no_time_does_not_lift_the_back_off() -> None:
    assert PollState(tries=9).retry_pause(retry_after=0.0, chance=0.5) == BACKOFF_CAP / 2


@given(st.integers(1, 10_000), st.none() | st.floats(0, MAX_RETRY_AFTER), st.floats(0, 1, exclude_max=True))
def test_a_pause_after_a_failure_is_bounded(tries: int, retry_after: float | None, chance: float) -> None:
    pause = PollState(tries=tries).retry_pause(retry_after=retry_after, chance=chance)

    ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (tries - 1)) if tries < 40 else BACKOFF_CAP
    assert (retry_after or 0.0) <= pause <= max(retry_after or 0.0, ceiling)
    assert retry_after is not None or pause == ceiling * chance


@given(st.floats(0.05, 3600), st.floats(0, 1, exclude_max=True))
def test_polls_are_spread_by_ten_percent(interval: float, chance: float) -> None:
    assert interval * 0.9 <= poll_pause(interval, chance) <= interval * 1.1 * 1.000001


ANSWERS = st.one_of(
    st.tuples(
        st.just("answered"),
        st.sampled_from(["changed", "unchanged", "held back"]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    st.tuples(st.just("failed"), st.booleans(), st.booleans(), st.none() | st.just(0.0), st.booleans()),
)


@given(story=st.lists(ANSWERS, min_size=3, max_size=40), tagged=st.booleans())
def test_no_sequence_of_quick_answers_without_news_makes_a_hot_loop(
    story: list[tuple[object, ...]], *, tagged: bool
) -> None:
    """Every answer comes at once. Between two pauses there is at most one request more than there were news."""
    state, now, in_a_row = PollState(), 0.0, 0
    tag = TAG if tagged else None
    for what, one, two, three, four in story:
        ask = state.next_request(tag, wait=25, now=now)
        if what == "failed":
            state = state.after_failure(ask, broke_off=bool(one), drop_tag=bool(two), took=0.0, now=now)
            assert state.retry_pause(retry_after=three, chance=0.5) >= BACKOFF_BASE / 2  # type: ignore[arg-type]
            in_a_row = 0
            continue
        tag = TAG if four else None
        state, pauses = state.after_answer(ask, effect=one, held=bool(two), tagged=bool(four), took=0.0)  # type: ignore[arg-type]
        if state.next_request(tag, wait=25, now=now).wait == 0:
            assert pauses, "a request that is not held never follows another at once"
        in_a_row = 0 if pauses or (one == "changed" and two) else in_a_row + 1
        assert in_a_row <= 1
