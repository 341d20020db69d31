"""Converts the idle clock to the facts shown in /status, /events and the reports. Pure."""

from __future__ import annotations

from agent.clock import rfc3339
from agent.config import SleepMode
from agent.sleep.idle_clock import ActivityEvent, ActivityKind, IdleClock
from agent.status import Activity, IdleFacts, Snapshot

CONTRACT_NAMES: dict[ActivityKind, Activity] = {
    "start": "none",
    "resume": "none",
    "work": "none",
    "navigation": "request",
    "app_request": "request",
    "shown": "input",
    "input": "input",
    "edit": "edit",
    "editor": "editor",
}
"""The contract's name for each kind (section 4)."""

_INPUT = {
    "pointer": "someone moved the mouse",
    "key": "someone typed",
    "wheel": "someone scrolled",
    "touch": "someone touched the page",
}


def facts(clock: IdleClock, *, mode: SleepMode, pages: tuple[int, int], since_boot: float) -> IdleFacts:
    """`since_boot`: wall clock minus monotonic clock. `pages`: the number of visible and of hidden pages."""
    last, sleep_at = clock.last, clock.sleep_at
    reported = clock.attended if last.kind == "work" else last  # the contract has no name for work
    name = CONTRACT_NAMES[reported.kind]
    return IdleFacts(
        mode=mode,
        last_activity=name,
        last_activity_at=None if name == "none" else _rfc3339_seconds(reported.at + since_boot),
        kind=last.kind,
        source=last.source,
        attended=last.attended,
        reason=_reason(clock),
        sleep_at=None if sleep_at is None else _rfc3339_seconds(sleep_at + since_boot),
        never=_never(clock, mode),
        visible=pages[0],
        hidden=pages[1],
    )


def work(now: Snapshot) -> str | None:
    """The work in progress that sleep would interrupt, or None."""
    if now.sync.progress is not None:
        return "receiving files"
    if now.install.state == "running":
        return "installing packages"
    return "compiling" if now.dev_server.compiling else None


def _rfc3339_seconds(wall: float) -> str:
    """Rounded to whole seconds: the difference between the two clocks jitters, which must not look like a change."""
    return rfc3339(round(wall))


def _never(clock: IdleClock, mode: SleepMode) -> str | None:
    if mode == "off":
        return "SLEEP_MODE is off"
    return None if clock.timeout else "IDLE_TIMEOUT is 0"


def _reason(clock: IdleClock) -> str:
    if clock.waiting:
        return "the app has not been ready yet"
    return _clause(clock.last)


def _clause(event: ActivityEvent) -> str:
    match event.kind:
        case "start":
            return "the app became ready"
        case "resume":
            return "the machine woke up"
        case "navigation":
            return f"a page was opened ({event.source})"
        case "app_request":
            sender = "a page" if event.attended else "a hidden page or a program"
            return f"{sender} sent a request ({event.source})"
        case "shown":
            return f"someone looked at {event.source or 'the page'}"
        case "input":
            return _INPUT.get(event.source, "someone used the page")
        case "edit":
            return f"an edit arrived ({event.source})"
        case "editor":
            return "the editor was used"
        case "work":
            return f"work was in progress ({event.source})"
