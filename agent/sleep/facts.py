"""The idle clock as others see it: /status, the events and the reports. Pure."""

from __future__ import annotations

from agent.clock import rfc3339
from agent.config import SleepMode
from agent.sleep.idle_clock import Idle, Kind, Sign
from agent.status import Activity, IdleFacts, Snapshot

WORDS: dict[Kind, Activity] = {
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
"""Each kind of sign in the contract's word (section 4)."""

_INPUT = {
    "pointer": "someone moved the mouse",
    "key": "someone typed",
    "wheel": "someone scrolled",
    "touch": "someone touched the page",
}


def facts(idle: Idle, *, mode: SleepMode, pages: tuple[int, int], since_boot: float) -> IdleFacts:
    """`since_boot`: what a monotonic time lacks of the wall's. `pages`: how many are visible, and how many hidden."""
    last, sleep_at = idle.last, idle.sleep_at
    told = idle.attended if last.kind == "work" else last  # the contract has no word for work
    word = WORDS[told.kind]
    return IdleFacts(
        mode=mode,
        last_activity=word,
        last_activity_at=None if word == "none" else _moment(told.at + since_boot),
        kind=last.kind,
        source=last.source,
        attended=last.attended,
        reason=_reason(idle),
        sleep_at=None if sleep_at is None else _moment(sleep_at + since_boot),
        never=_never(idle, mode),
        visible=pages[0],
        hidden=pages[1],
    )


def work(now: Snapshot) -> str | None:
    """What is under way that sleep would break off."""
    if now.sync.progress is not None:
        return "receiving files"
    if now.install.state == "running":
        return "installing packages"
    return "compiling" if now.dev_server.compiling else None


def _moment(wall: float) -> str:
    """Whole seconds: the wall's distance from the monotonic clock trembles, and a tremble is no news."""
    return rfc3339(round(wall))


def _never(idle: Idle, mode: SleepMode) -> str | None:
    if mode == "off":
        return "SLEEP_MODE is off"
    return None if idle.timeout else "IDLE_TIMEOUT is 0"


def _reason(idle: Idle) -> str:
    if idle.waiting:
        return "the app has not been ready yet"
    return _clause(idle.last)


def _clause(sign: Sign) -> str:
    match sign.kind:
        case "start":
            return "the app became ready"
        case "resume":
            return "the machine woke up"
        case "navigation":
            return f"a page was opened ({sign.source})"
        case "app_request":
            who = "a page" if sign.attended else "a page that nobody looks at, or a program,"
            return f"{who} sent a request ({sign.source})"
        case "shown":
            return f"someone looked at {sign.source or 'the page'}"
        case "input":
            return _INPUT.get(sign.source, "someone used the page")
        case "edit":
            return f"an edit arrived ({sign.source})"
        case "editor":
            return "the editor was used"
        case "work":
            return f"there was work going on ({sign.source})"
