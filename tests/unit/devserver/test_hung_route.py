"""Which page a dev server most likely hangs on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.devserver.hung_route import busy_problem, suspect
from agent.gateway.policy.waiting import WaitingRequests
from agent.status import Traffic, WaitingRequest


def waiting(**since: float) -> tuple[WaitingRequest, ...]:
    return tuple(WaitingRequest(f"/{name}", at) for name, at in since.items())


@pytest.mark.parametrize(
    ("traffic", "alive_at", "route"),
    [
        (Traffic(), 0.0, None),
        (Traffic(0.0, waiting(loop=5.0)), 4.0, "/loop"),
        # What was asked for later got no answer either: it only waits behind the first.
        (Traffic(0.0, waiting(other=9.0, loop=5.0)), 4.0, "/loop"),
        # A sign of life after both: the slow one was there long before.
        (Traffic(0.0, waiting(slow=1.0, loop=5.0)), 6.0, "/loop"),
        (Traffic(6.0, waiting(slow=1.0, loop=7.0)), 2.0, "/loop"),
    ],
)
def test_the_first_page_since_the_last_sign_of_life_is_the_one(
    traffic: Traffic, alive_at: float, route: str | None
) -> None:
    assert suspect(traffic, alive_at) == route


def test_a_browser_that_leaves_takes_no_loop_with_it() -> None:
    requests = WaitingRequests()
    requests.abandoned(requests.add("/loop", 1.0))
    assert suspect(requests.traffic(), 0.0) == "/loop"

    requests.answered(requests.add("/fine", 2.0), 3.0)
    assert requests.traffic() == Traffic(3.0, ())


@pytest.mark.parametrize("end", [WaitingRequests.removed, lambda all_, one: all_.answered(one, 2.0)])
def test_what_has_ended_waits_no_more(end: Callable[[WaitingRequests, WaitingRequest], None]) -> None:
    requests = WaitingRequests()
    first, second = requests.add("/a", 1.0), requests.add("/a", 1.0)
    end(requests, first)
    assert requests.traffic().waiting == (second,)
    end(requests, second)
    assert requests.traffic().waiting == ()


def test_its_problem_counts_in_steps() -> None:
    told = {busy_problem("/loop", 0.0, float(now)) for now in range(22)}

    assert len(told) == 3
    assert "/loop has kept the dev server busy for 8 s: it does not answer anything else" in told
