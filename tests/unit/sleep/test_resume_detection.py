"""What counts as having stood still, and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.sleep.resume import JUMP_SECONDS, LATE_SECONDS, ClockReading, stopped_seconds

EVERY = 1.0
START = ClockReading(1_700_000_000.0, 5_000.0)

long = st.floats(JUMP_SECONDS * 1.01, 1e8)
busy = st.floats(0, LATE_SECONDS * 0.9)
slew = st.floats(-0.1, 0.1)


def after(wall: float, monotonic: float) -> float:
    return stopped_seconds(START, ClockReading(START.wall + wall, START.monotonic + monotonic), due_after=EVERY)


@given(long, busy)
def test_a_wall_clock_that_ran_away_from_the_other_is_a_resume(asleep: float, late: float) -> None:
    assert after(EVERY + late + asleep, EVERY + late) > JUMP_SECONDS


@given(long)
def test_a_look_that_came_far_too_late_is_one_too_though_the_clocks_agree(stopped: float) -> None:
    assert after(EVERY + stopped, EVERY + stopped) > JUMP_SECONDS


@given(busy, slew)
def test_a_busy_machine_whose_clock_is_being_set_is_none(late: float, slewed: float) -> None:
    assert after(EVERY + late + slewed, EVERY + late) == 0.0


@given(st.floats(0, 1e9))
def test_a_wall_clock_that_is_set_back_is_none(back: float) -> None:
    assert after(EVERY - back, EVERY) == 0.0


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_whatever_the_clocks_say_the_answer_is_no_time_or_a_long_one(wall: float, monotonic: float) -> None:
    seconds = after(wall, monotonic)
    assert seconds == 0.0 or seconds > min(JUMP_SECONDS, LATE_SECONDS)


@given(st.lists(st.tuples(busy, slew), max_size=50))
def test_many_small_steps_never_add_up_to_one(steps: list[tuple[float, float]]) -> None:
    before = START
    for late, slewed in steps:
        now = ClockReading(before.wall + EVERY + late + slewed, before.monotonic + EVERY + late)
        assert stopped_seconds(before, now, due_after=EVERY) == 0.0
        before = now
