"""When the machine sleeps: the clock, sign by sign, and what holds for any life it may have."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import hypothesis.strategies as st
from hypothesis import given

from agent.sleep.facts import CONTRACT_NAMES
from agent.sleep.idle_clock import (
    START_SECONDS,
    UNATTENDED_SECONDS,
    ActivityEvent,
    ActivityKind,
    IdleClock,
    started,
    with_app_ready,
    with_event,
    with_resume,
)

TIMEOUT = 300.0
READY = 20.0

signs = st.builds(
    ActivityEvent,
    kind=st.sampled_from(get_args(ActivityKind)),
    source=st.just(""),
    at=st.floats(0, 100_000),
    attended=st.booleans(),
)
lives = st.lists(signs, max_size=30)


def ready(timeout: float = TIMEOUT) -> IdleClock:
    return with_app_ready(started(0, timeout), READY)


def lived(idle: IdleClock, life: list[ActivityEvent]) -> IdleClock:
    for sign in life:
        idle = with_event(idle, sign)
    return idle


class TestAPerson:
    def test_the_quiet_time_begins_when_the_app_is_first_ready(self) -> None:
        assert ready().sleep_at == READY + TIMEOUT

    def test_someone_who_uses_the_page_has_the_whole_quiet_time_from_then_on(self) -> None:
        idle = with_event(ready(), ActivityEvent("input", "pointer", 200))

        assert idle.sleep_at == 200 + TIMEOUT
        assert idle.last.source == "pointer"

    def test_news_that_comes_late_does_not_turn_the_clock_back(self) -> None:
        idle = with_event(ready(), ActivityEvent("input", "key", 500))

        assert with_event(idle, ActivityEvent("editor", "", 400)) == idle


class TestNobody:
    def test_a_page_that_nobody_looks_at_keeps_it_awake_for_ten_minutes_and_no_longer(self) -> None:
        person = with_event(ready(), ActivityEvent("input", "key", 100))
        polling = lived(
            person, [ActivityEvent("app_request", "GET /api", at, attended=False) for at in range(105, 5_000, 5)]
        )

        assert polling.sleep_at == 100 + UNATTENDED_SECONDS

    def test_a_program_that_asks_once_is_heard(self) -> None:
        idle = with_event(ready(), ActivityEvent("app_request", "GET /api", 120, attended=False))

        assert idle.sleep_at == 120 + TIMEOUT
        assert idle.last.kind == "app_request"

    def test_a_quiet_time_longer_than_that_is_not_cut_short(self) -> None:
        idle = with_event(ready(3_600), ActivityEvent("app_request", "GET /api", 1_000, attended=False))

        assert idle.sleep_at == READY + 3_600


class TestTheStart:
    def test_a_slow_start_is_not_slept_through(self) -> None:
        assert started(0, 20).sleep_at == START_SECONDS

    def test_a_start_that_comes_to_nothing_ends_in_sleep(self) -> None:
        asked = with_event(started(0, 20), ActivityEvent("navigation", "GET /", START_SECONDS - 1))

        assert asked.sleep_at == START_SECONDS - 1 + 20

    def test_ready_once_more_is_no_sign_of_life(self) -> None:
        assert with_app_ready(ready(), 250) == ready()


def test_without_a_quiet_time_it_never_sleeps() -> None:
    assert with_event(ready(0), ActivityEvent("input", "key", 50)).sleep_at is None


def test_after_a_freeze_the_whole_quiet_time_begins_anew() -> None:
    idle = with_resume(with_event(ready(), ActivityEvent("app_request", "", 5_000, attended=False)), 9_000)

    assert idle.sleep_at == 9_000 + TIMEOUT


@given(life=lives, timeout=st.floats(1, 10_000))
def test_no_life_keeps_it_awake_for_longer_after_the_last_proof_of_a_person_than_is_allowed(
    life: list[ActivityEvent], timeout: float
) -> None:
    idle = lived(with_app_ready(started(0, timeout), 0), life)

    assert idle.sleep_at is not None
    proof = max([0.0, *(sign.at for sign in life if sign.attended)])
    assert proof + timeout <= idle.sleep_at <= proof + max(timeout, UNATTENDED_SECONDS)


@given(life=lives, timeout=st.floats(1, 10_000))
def test_a_sign_more_never_makes_it_sleep_earlier(life: list[ActivityEvent], timeout: float) -> None:
    idle = started(0, timeout)
    for sign in life:
        after = with_event(idle, sign)
        assert (after.sleep_at or 0) >= (idle.sleep_at or 0)
        idle = after


@given(life=lives)
def test_the_order_in_which_signs_arrive_makes_no_difference(life: list[ActivityEvent]) -> None:
    # Signs of one moment may stand for each other; which one is named does not matter to the clock.
    forth, back = lived(ready(), life), lived(ready(), life[::-1])

    assert forth.sleep_at == back.sleep_at
    assert replace(forth.last, kind="start") == replace(back.last, kind="start") or forth.last.at == back.last.at


def test_every_kind_of_sign_has_a_word_in_the_contract() -> None:
    assert set(CONTRACT_NAMES) == set(get_args(ActivityKind))
