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
    LONGEST_LOOK,
    LOOK_SECONDS,
    NO_HOLDS_SECONDS,
    Pace,
    poll_pause,
)
from agent.sync.protocol.exchange import Ask

TAG = '"7"'
HELD = Ask(TAG, 25)


def test_a_request_is_held_only_against_a_tag() -> None:
    assert Pace().ask(TAG, wait=25, now=0) == HELD
    assert Pace().ask(None, wait=25, now=0) == Ask(None)
    assert Pace(whole=True).ask(TAG, wait=25, now=0) == Ask(None)


def test_news_of_a_held_request_are_followed_by_the_next_at_once() -> None:
    _, pauses = Pace().answered(HELD, kind="news", held=True, tagged=True, took=0.0)

    assert not pauses


def test_a_hold_that_ran_out_is_followed_by_the_next_at_once() -> None:
    _, pauses = Pace().answered(HELD, kind="nothing", held=True, tagged=True, took=25.0)

    assert not pauses


def test_who_does_not_hold_is_polled() -> None:
    for kind in ("news", "nothing"):
        _, pauses = Pace().answered(HELD, kind=kind, held=False, tagged=True, took=0.1)
        assert pauses


def test_who_says_that_it_held_and_answers_at_once_is_polled() -> None:
    _, pauses = Pace().answered(HELD, kind="nothing", held=True, tagged=True, took=0.01)

    assert pauses


def test_what_is_held_back_is_asked_again_after_a_pause() -> None:
    _, pauses = Pace().answered(HELD, kind="held back", held=True, tagged=True, took=25.0)

    assert pauses


def test_after_the_first_set_it_is_found_out_at_once_whether_the_backend_holds() -> None:
    _, pauses = Pace().answered(Ask(None), kind="news", held=False, tagged=True, took=1.0)
    assert not pauses

    _, pauses = Pace().answered(Ask(None), kind="news", held=False, tagged=False, took=1.0)
    assert pauses, "without a tag there is nothing to hold against"


def test_holds_that_break_off_are_given_up_for_a_while() -> None:
    pace = Pace()
    for _ in range(BROKEN_HOLDS):
        assert pace.ask(TAG, wait=25, now=100) == HELD
        pace = pace.failed(HELD, broke_off=True, drop_tag=False, took=10, now=100)

    assert pace.ask(TAG, wait=25, now=100 + NO_HOLDS_SECONDS - 1) == Ask(TAG)
    assert pace.ask(TAG, wait=25, now=100 + NO_HOLDS_SECONDS) == HELD


@pytest.mark.parametrize(("broke_off", "took"), [(True, 0.1), (False, 10)])
def test_a_refusal_or_a_failure_at_once_says_nothing_about_holding(*, broke_off: bool, took: float) -> None:
    pace = Pace()
    for _ in range(9):
        pace = pace.failed(HELD, broke_off=broke_off, drop_tag=False, took=took, now=100)

    assert pace.ask(TAG, wait=25, now=100) == HELD


def test_an_answer_in_between_shows_that_holds_get_through() -> None:
    pace = Pace()
    for _ in range(9):
        pace = pace.failed(HELD, broke_off=True, drop_tag=False, took=10, now=100)
        pace, _ = pace.answered(HELD, kind="nothing", held=True, tagged=True, took=25)

    assert pace.ask(TAG, wait=25, now=100) == HELD


def test_an_answer_to_a_request_that_was_not_held_says_nothing_about_holding() -> None:
    pace = Pace()
    for _ in range(BROKEN_HOLDS):
        pace = pace.failed(HELD, broke_off=True, drop_tag=False, took=10, now=100)
        pace, _ = pace.answered(Ask(TAG), kind="nothing", held=False, tagged=True, took=0.1)

    assert pace.ask(TAG, wait=25, now=100) == Ask(TAG)


def test_an_answer_that_cannot_be_built_upon_asks_for_the_whole_set_until_it_came() -> None:
    pace = Pace().failed(HELD, broke_off=False, drop_tag=True, took=0, now=0)
    pace = pace.failed(Ask(None), broke_off=True, drop_tag=False, took=0, now=0)
    assert pace.ask(TAG, wait=25, now=0) == Ask(None)

    pace, _ = pace.answered(Ask(None), kind="nothing", held=False, tagged=True, took=0)
    assert pace.ask(TAG, wait=25, now=0) == HELD


def test_what_was_found_on_the_disk_asks_for_the_whole_set_ever_more_seldom() -> None:
    pace = Pace().looked(found=True, again=False, now=0)
    assert pace.ask(TAG, wait=25, now=0) == Ask(None)
    assert pace.look_at == LOOK_SECONDS

    for _ in range(20):
        pace = pace.looked(found=True, again=True, now=0)
    assert pace.look_every == LONGEST_LOOK

    assert pace.looked(found=False, again=False, now=0).look_every == LOOK_SECONDS


def test_the_backends_word_is_kept() -> None:
    assert Pace(tries=1).pause(told=7.0, chance=0.5) == 7.0
    assert Pace(tries=9).pause(told=7.0, chance=0.99) == 7.0


def test_a_word_of_no_time_does_not_lift_the_back_off() -> None:
    assert Pace(tries=9).pause(told=0.0, chance=0.5) == BACKOFF_CAP / 2


@given(st.integers(1, 10_000), st.none() | st.floats(0, MAX_RETRY_AFTER), st.floats(0, 1, exclude_max=True))
def test_a_pause_after_a_failure_is_bounded(tries: int, told: float | None, chance: float) -> None:
    pause = Pace(tries=tries).pause(told=told, chance=chance)

    ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (tries - 1)) if tries < 40 else BACKOFF_CAP
    assert (told or 0.0) <= pause <= max(told or 0.0, ceiling)
    assert told is not None or pause == ceiling * chance


@given(st.floats(0.05, 3600), st.floats(0, 1, exclude_max=True))
def test_polls_are_spread_by_ten_percent(interval: float, chance: float) -> None:
    assert interval * 0.9 <= poll_pause(interval, chance) <= interval * 1.1 * 1.000001


ANSWERS = st.one_of(
    st.tuples(
        st.just("answered"),
        st.sampled_from(["news", "nothing", "held back"]),
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
    pace, now, in_a_row = Pace(), 0.0, 0
    tag = TAG if tagged else None
    for what, one, two, three, four in story:
        ask = pace.ask(tag, wait=25, now=now)
        if what == "failed":
            pace = pace.failed(ask, broke_off=bool(one), drop_tag=bool(two), took=0.0, now=now)
            assert pace.pause(told=three, chance=0.5) >= BACKOFF_BASE / 2  # type: ignore[arg-type]
            in_a_row = 0
            continue
        tag = TAG if four else None
        pace, pauses = pace.answered(ask, kind=one, held=bool(two), tagged=bool(four), took=0.0)  # type: ignore[arg-type]
        if pace.ask(tag, wait=25, now=now).wait == 0:
            assert pauses, "a request that is not held never follows another at once"
        in_a_row = 0 if pauses or (one == "news" and two) else in_a_row + 1
        assert in_a_row <= 1
