"""The idle clock: which signs of life keep the machine awake, and until when. Pure.

Some signs prove that a person is there: a click that led to a page, the mouse, an edit, the editor. Others may come
from a page that nobody looks at (a hidden tab that polls, a page that reloads itself); they count as well, but only
for so long after the last proof. So a tab that was left open cannot keep a machine awake for ever.

Times are monotonic seconds. What must not live here: what a request is (the gateway's classes decide), and what going
to sleep takes (loop.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

UNATTENDED_SECONDS = 600.0
"""How long after the last proof of a person the other signs keep the machine awake."""
START_SECONDS = 900.0
"""How long a machine may take until its app is first seen. It does not sleep under those who wait for it, but neither
does it run for ever when nothing comes of it.
"""

Kind = Literal["start", "resume", "navigation", "app_request", "shown", "input", "edit", "editor", "work"]


@dataclass(frozen=True, slots=True)
class Sign:
    """`source` says it more exactly: "GET /about", "pointer", "3 files". `attended`: it proves a person is there."""

    kind: Kind
    source: str
    at: float
    attended: bool = True


@dataclass(frozen=True, slots=True)
class Idle:
    """The clock's whole state. `attended` and `unattended` are the newest sign of each sort; `waiting`: the app has not
    been seen yet since `begun`. A `timeout` of 0 means never.
    """

    timeout: float
    begun: float
    attended: Sign
    unattended: Sign | None = None
    waiting: bool = True

    @property
    def last(self) -> Sign:
        """The sign that counted last."""
        if self.unattended is not None and self.unattended.at > self.attended.at:
            return self.unattended
        return self.attended

    @property
    def sleep_at(self) -> float | None:
        """When the machine goes to sleep if nothing else is heard; None: never."""
        if not self.timeout:
            return None
        at = self.attended.at + self.timeout
        if self.unattended is not None:
            most = self.attended.at + max(self.timeout, UNATTENDED_SECONDS)
            at = max(at, min(self.unattended.at + self.timeout, most))
        if self.waiting:
            at = max(at, self.begun + max(self.timeout, START_SECONDS))
        return at


def begin(now: float, timeout: float) -> Idle:
    """The machine has just started. `timeout` in seconds, 0 for never."""
    return Idle(timeout=timeout, begun=now, attended=Sign("start", "", now))


def heard(idle: Idle, sign: Sign) -> Idle:
    """A sign of life. One that is older than what is known changes nothing."""
    if sign.attended:
        return idle if sign.at < idle.attended.at else replace(idle, attended=sign)
    known = idle.unattended
    return idle if known is not None and sign.at < known.at else replace(idle, unattended=sign)


def seen(idle: Idle, at: float) -> Idle:
    """The app was ready for the first time: from there on the clock runs."""
    if not idle.waiting:
        return idle
    return replace(heard(idle, Sign("start", "", at)), waiting=False)


def resumed(idle: Idle, now: float) -> Idle:
    """The machine was frozen and goes on. Whoever woke it was not heard yet, so the whole quiet time begins anew."""
    return replace(idle, attended=Sign("resume", "", now), unattended=None)
