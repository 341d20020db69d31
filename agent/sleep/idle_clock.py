"""The idle clock: which activity keeps the machine awake, and until when. Pure.

Some activity proves that a person is there (`attended`): a click that led to a page, the mouse, an edit, the editor.
Other activity may come from a page that nobody looks at, such as a hidden tab that polls, or a page that reloads
itself. It counts as well, but only for UNATTENDED_SECONDS after the last proof, so that a tab that was left open cannot
keep a machine awake for ever.

Times are monotonic seconds. What must not live here: how a request is classified (the gateway's policy), and the steps
of going to sleep (controller.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

UNATTENDED_SECONDS = 600.0
"""How long after the last attended activity other activity keeps the machine awake."""
START_SECONDS = 900.0
"""How long the machine stays awake at most until its app is ready for the first time. It does not go to sleep while
somebody waits for the app, but not for ever: the app may never become ready.
"""

ActivityKind = Literal["start", "resume", "navigation", "app_request", "shown", "input", "edit", "editor", "work"]


@dataclass(frozen=True, slots=True)
class ActivityEvent:
    kind: ActivityKind
    source: str
    """More exactly: "GET /about", "pointer", "3 files"."""
    at: float
    attended: bool = True
    """It proves that a person is there."""


@dataclass(frozen=True, slots=True)
class IdleClock:
    timeout: float
    """IDLE_TIMEOUT in seconds; 0: never sleep."""
    begun: float
    """When the machine started."""
    attended: ActivityEvent
    """The newest attended event."""
    unattended: ActivityEvent | None = None
    """The newest other event."""
    waiting: bool = True
    """The app has not been ready yet."""

    @property
    def last(self) -> ActivityEvent:
        """The newest event of both."""
        if self.unattended is not None and self.unattended.at > self.attended.at:
            return self.unattended
        return self.attended

    @property
    def sleep_at(self) -> float | None:
        """When the machine goes to sleep without further activity; None: never."""
        if not self.timeout:
            return None
        at = self.attended.at + self.timeout
        if self.unattended is not None:
            most = self.attended.at + max(self.timeout, UNATTENDED_SECONDS)
            at = max(at, min(self.unattended.at + self.timeout, most))
        if self.waiting:
            at = max(at, self.begun + max(self.timeout, START_SECONDS))
        return at


def started(now: float, timeout: float) -> IdleClock:
    """The clock of a machine that has just started. `timeout` in seconds; 0: never sleep."""
    return IdleClock(timeout=timeout, begun=now, attended=ActivityEvent("start", "", now))


def with_event(clock: IdleClock, event: ActivityEvent) -> IdleClock:
    """The clock after an event. An event older than the newest one of its sort changes nothing."""
    if event.attended:
        return clock if event.at < clock.attended.at else replace(clock, attended=event)
    known = clock.unattended
    return clock if known is not None and event.at < known.at else replace(clock, unattended=event)


def with_app_ready(clock: IdleClock, at: float) -> IdleClock:
    """The clock after the app became ready. The first time starts the idle timeout; later times change nothing."""
    if not clock.waiting:
        return clock
    return replace(with_event(clock, ActivityEvent("start", "", at)), waiting=False)


def with_resume(clock: IdleClock, now: float) -> IdleClock:
    """The clock after the machine was frozen and resumed. The request that woke it has not arrived yet, so the whole
    idle timeout begins again.
    """
    return replace(clock, attended=ActivityEvent("resume", "", now), unattended=None)
