from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.process.output import LINES_A_SECOND, LINES_KEPT, Allowance


def test_a_burst_goes_through_and_what_is_over_it_is_counted_once() -> None:
    allowance = Allowance()
    taken = [allowance.take(0.0) for _ in range(LINES_KEPT + 7)]
    assert taken == [True] * LINES_KEPT + [False] * 7
    assert (allowance.left_out(), allowance.left_out()) == (7, 0)


@given(st.lists(st.floats(0, 10), max_size=300), st.integers(1, 50))
def test_no_more_than_the_burst_and_the_rate_ever_go_through(pauses: list[float], at_once: int) -> None:
    allowance, now, taken, tried = Allowance(), 100.0, 0, 0
    for pause in pauses:
        now += pause
        for _ in range(at_once):
            taken += allowance.take(now)
            tried += 1
    assert taken <= LINES_KEPT + (now - 100.0) * LINES_A_SECOND + 1
    assert taken + allowance.left_out() == tried
