from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.process.output import LINES_KEPT, LINES_PER_SECOND, LineRateLimit


def test_a_burst_goes_through_and_what_is_over_it_is_counted_once() -> None:
    limit = LineRateLimit()
    taken = [limit.allows(0.0) for _ in range(LINES_KEPT + 7)]
    assert taken == [True] * LINES_KEPT + [False] * 7
    assert (limit.take_dropped(), limit.take_dropped()) == (7, 0)


@given(st.lists(st.floats(0, 10), max_size=300), st.integers(1, 50))
def test_no_more_than_the_burst_and_the_rate_ever_go_through(pauses: list[float], at_once: int) -> None:
    limit, now, taken, tried = LineRateLimit(), 100.0, 0, 0
    for pause in pauses:
        now += pause
        for _ in range(at_once):
            taken += limit.allows(now)
            tried += 1
    assert taken <= LINES_KEPT + (now - 100.0) * LINES_PER_SECOND + 1
    assert taken + limit.take_dropped() == tried
