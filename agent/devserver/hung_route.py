"""Which page most likely keeps an unresponsive dev server busy, and the problem texts about it. Pure.

Next renders on the thread that also accepts requests, so an endless loop in one component blocks all of them. The
gateway knows which requests wait since when, and when the dev server last sent anything. No request after the looping
page was answered either. So the page is the first one requested since the last response, or else the last one before
it.
"""

from __future__ import annotations

from typing import Final

from agent.devserver.states import SPIN_DETECTION_SECONDS
from agent.status import Traffic

STEP_SECONDS: Final = 10


def suspect(traffic: Traffic, alive_at: float) -> str | None:
    """The path of the page that loops; None if no request waits. `alive_at`: when the dev server last showed activity
    other than a response (a message of its hot-reload socket), by the monotonic clock.
    """
    alive_at = max(alive_at, traffic.answered_at)
    asked = sorted(traffic.waiting, key=lambda request: request.since)
    after = [request for request in asked if request.since >= alive_at]
    if after:
        return after[0].path
    return asked[-1].path if asked else None


def busy_problem(route: str | None, since: float, now: float) -> str:
    """The problem of a server that spins. `since`: when that was noticed. The seconds are rounded to steps, so that the
    text changes rarely.
    """
    seconds = int(now - since) // STEP_SECONDS * STEP_SECONDS + round(SPIN_DETECTION_SECONDS)
    if route is None:
        return f"the dev server has been busy for {seconds} s without compiling: it does not answer"
    return f"{route} has kept the dev server busy for {seconds} s: it does not answer anything else"


def blocked_problem(route: str) -> str:
    """The problem of a page that the gateway answers with an error page instead of asking the dev server."""
    return (
        f"{route} kept the dev server busy without end, so the server was restarted, and {route} is not rendered "
        "again until a file changes: look for an endless loop in what it renders"
    )
