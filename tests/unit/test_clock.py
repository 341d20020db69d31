from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import MAX_RETRY_AFTER, Clock, full_jitter, retry_after, rfc3339

WALL = 1_795_341_600.0  # 2026-11-22 10:00:00 UTC


def test_times_are_written_as_utc_with_milliseconds() -> None:
    assert rfc3339(1_795_341_600.25) == "2026-11-22T10:00:00.250Z"


def test_the_first_try_waits_at_most_the_base_and_each_further_one_twice_as_long() -> None:
    assert [full_jitter(n, base=0.5, cap=30, chance=1.0) for n in (1, 2, 3, 7, 8)] == [0.5, 1.0, 2.0, 30, 30]


@given(
    attempt=st.integers(1, 10**9),
    base=st.floats(0.001, 10),
    cap=st.floats(0.001, 3600),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_negative_and_never_over_its_cap(attempt: int, base: float, cap: float, chance: float) -> None:
    assert 0 <= full_jitter(attempt, base=base, cap=cap, chance=chance) <= cap


def test_the_real_clock_gives_time_that_goes_forward_and_chances_below_one() -> None:
    clock = Clock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.wall() > 1_700_000_000
    assert all(0 <= clock.chance() < 1 for _ in range(100))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("999999999", MAX_RETRY_AFTER),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 10:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2099 10:00:00 GMT", MAX_RETRY_AFTER),
        (None, None),
        ("", None),
        ("-3", None),
        ("1.5", None),
        ("1e3", None),
        ("soon", None),
        ("9" * 40, None),
        ("Sun, 99 Nov 2026 10:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nothing_else(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, WALL) == seconds


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,9} \d\d:\d\d(:\d\d)? ?\S*"))
def test_whatever_retry_after_says_the_wait_is_bounded(header: str) -> None:
    seconds = retry_after(header, WALL)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER
