from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Clock, full_jitter, rfc3339


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
