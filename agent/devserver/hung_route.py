"""Which page most likely keeps a dev server busy that does not answer anything any more. Pure.

Next renders on the thread that also answers, so that an endless loop in one component silences all of it. What the
gateway knows: which requests wait for an answer since when, and when the dev server last sent anything. The page that
loops was asked for; everything asked for after it got no answer either. So it is the first one asked for since the last
sign of life, or else the last one before it.
"""

from __future__ import annotations

from typing import Final

from agent.devserver.states import SPIN_DETECTION_SECONDS
from agent.status import Traffic

STEP_SECONDS: Final = 10


def suspect(traffic: Traffic, alive_at: float) -> str | None:
    """The path of the page that loops; None: nothing was asked for. `alive_at`: the last sign of life that was not an
    answer, by the monotonic clock.
    """
    alive_at = max(alive_at, traffic.answered_at)
    asked = sorted(traffic.waiting, key=lambda request: request.since)
    after = [request for request in asked if request.since >= alive_at]
    if after:
        return after[0].path
    return asked[-1].path if asked else None


def now_busy(route: str | None, since: float, now: float) -> str:
    """The problem of a server that spins. `since`: when that was seen. It counts in steps, so as to be news seldom."""
    seconds = int(now - since) // STEP_SECONDS * STEP_SECONDS + round(SPIN_DETECTION_SECONDS)
    if route is None:
        return f"the dev server has been busy for {seconds} s with something that is no compile: it does not answer"
    return f"{route} has kept the dev server busy for {seconds} s: it does not answer anything else"


def kept_away(route: str) -> str:
    """The problem of a page that is answered by an error page instead of the dev server."""
    return (
        f"{route} kept the dev server busy without an end, so the server was restarted, and {route} is not rendered "
        "again until a file changes: look for a loop that never ends in what it renders"
    )
