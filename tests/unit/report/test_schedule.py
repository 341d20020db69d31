from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.report.schedule import (
    BACKOFF_CAP,
    LONGEST_INTERVAL_SECONDS,
    SHORTEST_INTERVAL_SECONDS,
    UNSERVED_SECONDS,
    Schedule,
    first,
)

OUTCOMES = st.sampled_from(["accepted", "failed", "unserved"])


def after(
    schedule: Schedule, sent: float, outcome: str, *, current: int, wait: float | None, chance: float
) -> Schedule:
    if outcome == "accepted":
        return schedule.after_accepted(sent, current)
    if outcome == "failed":
        return schedule.after_failure(sent, retry_after=wait, chance=chance)
    return schedule.after_unserved(sent)


def test_the_first_report_is_due_at_once() -> None:
    assert first(100.0).due("anything") == 100.0


def test_news_is_told_a_second_after_the_last_report_and_the_same_again_after_30() -> None:
    reported = first(0).after_accepted(100.0, "a")
    assert reported.due("b") == 101.0
    assert reported.due("a") == 130.0


def test_after_a_failure_what_is_told_comes_again_whether_it_changed_or_not() -> None:
    failed = first(0).after_accepted(100.0, "a").after_failure(130.0, retry_after=None, chance=1.0)
    assert failed.due("a") == failed.due("b") == 131.0


def test_back_off_doubles_from_half_a_second_up_to_30_and_chance_takes_any_part_of_it() -> None:
    schedule, pauses = first(0), []
    for _ in range(9):
        schedule = schedule.after_failure(0.0, retry_after=None, chance=0.999)
        pauses.append(round(schedule.due("x")))
    assert pauses == [1, 1, 2, 4, 8, 16, 30, 30, 30]
    assert schedule.after_failure(0.0, retry_after=None, chance=0.1).due("x") == 3.0


def test_a_report_that_got_through_ends_the_back_off() -> None:
    schedule = first(0)
    for _ in range(9):
        schedule = schedule.after_failure(0.0, retry_after=None, chance=0.9)
    again = schedule.after_accepted(50.0, "a").after_failure(80.0, retry_after=None, chance=0.9)
    assert again.due("a") == 81.0


def test_the_backends_own_word_replaces_the_back_off() -> None:
    assert first(0).after_failure(10.0, retry_after=7.0, chance=1.0).due("x") == 17.0


def test_a_backend_without_the_endpoint_is_asked_every_5_minutes_whatever_the_news() -> None:
    unserved = first(0).after_accepted(0, "a").after_unserved(100.0)
    assert unserved.due("a") == unserved.due("b") == 100.0 + UNSERVED_SECONDS


LIFE = st.lists(
    st.tuples(OUTCOMES, st.integers(0, 2), st.integers(0, 2), st.none() | st.floats(0, 10_000), st.floats(0, 0.999)),
    max_size=30,
)


@given(LIFE)
def test_never_two_reports_within_a_second_and_never_silence_for_longer_than_was_agreed(
    life: list[tuple[str, int, int, float | None, float]],
) -> None:
    sent, schedule = 0.0, first(0.0)
    for outcome, told, current, wait, chance in life:
        schedule = after(schedule, sent, outcome, current=told, wait=wait, chance=chance)
        due = schedule.due(current)
        longest = {"accepted": LONGEST_INTERVAL_SECONDS, "failed": BACKOFF_CAP, "unserved": UNSERVED_SECONDS}[outcome]
        if outcome == "failed" and wait is not None:
            longest = max(SHORTEST_INTERVAL_SECONDS, wait)
        assert sent + SHORTEST_INTERVAL_SECONDS <= due <= sent + longest
        sent = due
