"""The dev server's life: one table from (state, event) to the next state and the effects that it asks for. Pure.

Invariants:
  - Every pair of a state and an event has its row. A pair without consequence says why (`Ignored`).
  - There is one process at most: LAUNCH is asked for only where the last one is known to be gone. `Exited` means that
    the leader and everything it started are gone, `Spawned` that a new one exists.
  - Any exit that was not asked for is a crash, status 0 too: Next's parent process exits 0 when its server is killed.
  - A process that was told to end is killed when its time is over.

What must not live here: time, chance and processes. `now` is an argument, and the jitter's chance comes with the event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from agent.clock import full_jitter
from agent.devserver.states import (
    BACK_OFF_BASE,
    BACK_OFF_CAP,
    BUSY_SECONDS,
    CHECK_SECONDS,
    CRASH_WINDOW,
    CRASHES_ALLOWED,
    GRACE_SECONDS,
    HUNG_SECONDS,
    KILLED_SECONDS,
    START_SECONDS,
    Answered,
    BackingOff,
    Checked,
    Effect,
    Ending,
    Event,
    Exited,
    Failed,
    FilesChanged,
    Idle,
    LaunchFailed,
    Launching,
    Ledger,
    Ready,
    RepairAsked,
    RestartAsked,
    Serving,
    Silent,
    Spawned,
    Starting,
    State,
    StopAsked,
    Stopped,
    Stopping,
    Tick,
    Unresponsive,
    Waiting,
)

Step = tuple[State, tuple[Effect, ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """`to` names every state that `do` may lead to, and when."""

    do: Callable[[Any, Any, float], Step]
    to: Mapping[type[State], str]


@dataclass(frozen=True, slots=True)
class Ignored:
    why: str


def step(state: State, event: Event, now: float) -> Step:
    row = TABLE[type(state)][type(event)]
    if isinstance(row, Ignored):
        return state, ()
    return row.do(state, event, now)


def mermaid() -> str:
    """The table as a Mermaid state diagram. Pairs that stay in their state are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {Waiting.__name__}"]
    for source, rows in TABLE.items():
        for event, row in rows.items():
            if isinstance(row, Row):
                lines += [
                    f"    {source.__name__} --> {target.__name__}: {event.__name__}{when and f' ({when})'}"
                    for target, when in row.to.items()
                    if target is not source
                ]
    return "\n".join([*lines, f"    {Stopped.__name__} --> [*]"])


def _launch(ledger: Ledger, why: str) -> Step:
    return Launching(ledger, why), (Effect.LAUNCH,)


def _after_crash(ledger: Ledger, now: float, why: str, chance: float) -> Step:
    if len(ledger.recent) >= CRASHES_ALLOWED:
        return Failed(
            ledger, f"{len(ledger.recent)} crashes within {CRASH_WINDOW / 60:.0f} minutes; the last: {why}"
        ), ()
    return _back_off(ledger, now, why, chance)


def _back_off(ledger: Ledger, now: float, why: str, chance: float) -> Step:
    pause = full_jitter(ledger.streak, base=BACK_OFF_BASE, cap=BACK_OFF_CAP, chance=chance)
    return BackingOff(ledger, why, until=now + pause), ()


def _checked(state: Waiting, event: Checked, now: float) -> Step:
    if event.missing is None:
        return _launch(state.ledger, "everything it needs is there")
    return replace(state, missing=event.missing, check_at=now + CHECK_SECONDS), ()


def _check_when_due(state: Waiting, _: Tick, now: float) -> Step:
    if now < state.check_at:
        return state, ()
    return replace(state, check_at=now + CHECK_SECONDS), (Effect.CHECK,)


def _check_now(state: Waiting, _: FilesChanged, __: float) -> Step:
    return state, (Effect.CHECK,)


def _found_missing(state: Launching, event: Checked, now: float) -> Step:
    if event.missing is None:
        return state, ()
    return Waiting(state.ledger, event.missing, check_at=now + CHECK_SECONDS), ()


def _spawned(state: Launching, event: Spawned, now: float) -> Step:
    ledger = replace(state.ledger, starts=state.ledger.starts + 1)
    return Starting(ledger, event.pid, answer_by=now + START_SECONDS), ()


def _not_launched(state: Launching, event: LaunchFailed, now: float) -> Step:
    if event.outside:
        return _back_off(state.ledger.hindered(event.why), now, event.why, event.chance)
    return _after_crash(state.ledger.crashed(now, event.why, None), now, event.why, event.chance)


def _abandon(state: Launching, _: StopAsked, now: float) -> Step:
    give_up_at = now + GRACE_SECONDS + KILLED_SECONDS
    return Stopping(state.ledger, pid=None, kill_at=None, give_up_at=give_up_at), (Effect.ABANDON,)


def _end(state: Serving, why: str, now: float, *, crashed: bool) -> Step:
    ready_since = None if isinstance(state, Starting) else state.since
    ledger = state.ledger.crashed(now, why, ready_since) if crashed else state.ledger
    return Ending(ledger, state.pid, why, crashed, kill_at=now + GRACE_SECONDS), (Effect.TERMINATE,)


def _never_answered(state: Starting, _: Tick, now: float) -> Step:
    if now < state.answer_by:
        return state, ()
    return _end(state, f"it has not answered within {START_SECONDS:.0f} s of its start", now, crashed=True)


def _hung(state: Unresponsive, _: Tick, now: float) -> Step:
    if now < state.restart_at:
        return state, ()
    return _end(state, "it was hung: no sign of life", now, crashed=True)


def _died(state: Serving, event: Exited, now: float) -> Step:
    if event.outside:
        return _back_off(state.ledger.hindered(event.why), now, event.why, event.chance)
    ready_since = None if isinstance(state, Starting) else state.since
    ledger = state.ledger.crashed(now, event.report, ready_since, event.error)
    return _after_crash(ledger, now, event.reason, event.chance)


def _forget_values(state: Serving, event: FilesChanged, now: float) -> Step:
    if event.meaning != "restart":
        return state, ()
    return _end(state, "a file was deleted whose values only a new process forgets", now, crashed=False)


def _restart(state: Serving, event: RestartAsked, now: float) -> Step:
    return _end(replace(state, ledger=state.ledger.forgiven()), event.why, now, crashed=False)


def _repair(state: Serving, event: RepairAsked, now: float) -> Step:
    return _end(state, event.why, now, crashed=False)


def _mend(state: Idle, _: RepairAsked, __: float) -> Step:
    return state, (Effect.MEND,)


def _stop(state: Serving, _: StopAsked, now: float) -> Step:
    kill_at = now + GRACE_SECONDS
    return Stopping(state.ledger, state.pid, kill_at, kill_at + KILLED_SECONDS), (Effect.TERMINATE,)


def _became_ready(state: Starting, _: Answered, now: float) -> Step:
    return Ready(replace(state.ledger, trouble=None, error=None), state.pid, since=now), ()


def _fell_silent(state: Ready, _: Silent, now: float) -> Step:
    return Unresponsive(state.ledger, state.pid, state.since, now + HUNG_SECONDS, now + BUSY_SECONDS), ()


def _came_back(state: Unresponsive, _: Answered, __: float) -> Step:
    return Ready(state.ledger, state.pid, state.since), ()


def _be_patient(state: Unresponsive, event: Silent, now: float) -> Step:
    if not event.busy:
        return state, ()
    return replace(state, restart_at=min(now + HUNG_SECONDS, state.limit_at)), ()


def _ended(state: Ending, event: Exited, now: float) -> Step:
    if state.crashed:
        return _after_crash(state.ledger, now, state.why, event.chance)
    return _launch(state.ledger, state.why)


def _kill_again(state: Ending, _: Tick, now: float) -> Step:
    """Until it is gone, however long: a second process beside it would fight over the port and the cache."""
    if now < state.kill_at:
        return state, ()
    return replace(state, kill_at=now + GRACE_SECONDS), (Effect.KILL,)


def _restart_after_all(state: Ending, event: RestartAsked, _: float) -> Step:
    return replace(state, ledger=state.ledger.forgiven(), why=event.why, crashed=False), ()


def _stop_instead(state: Ending, _: StopAsked, now: float) -> Step:
    kill_at = min(state.kill_at, now + GRACE_SECONDS)
    return Stopping(state.ledger, state.pid, kill_at, kill_at + KILLED_SECONDS), ()


def _try_when_due(state: BackingOff, _: Tick, now: float) -> Step:
    return (state, ()) if now < state.until else _launch(state.ledger, state.why)


def _try_mended(state: BackingOff, event: FilesChanged, _: float) -> Step:
    if event.meaning == "sources":
        return state, ()
    return _launch(state.ledger.forgiven(), "its configuration changed")


def _try_changed(state: Failed, _: FilesChanged, __: float) -> Step:
    return _launch(state.ledger.forgiven(), "files changed")


def _try_asked(state: Idle, event: RestartAsked, _: float) -> Step:
    return _launch(state.ledger.forgiven(), event.why)


def _never_mind(state: Idle, _: StopAsked, __: float) -> Step:
    return Stopped(state.ledger), ()


def _spawned_too_late(state: Stopping, event: Spawned, now: float) -> Step:
    kill_at = now + GRACE_SECONDS
    return Stopping(state.ledger, event.pid, kill_at, kill_at + KILLED_SECONDS), (Effect.TERMINATE,)


def _gone(state: Stopping, _: Exited, __: float) -> Step:
    return Stopped(state.ledger), ()


def _abandoned(state: Stopping, event: LaunchFailed | Checked, _: float) -> Step:
    """The launch is over without a process, unless this is the answer to an older question."""
    found_nothing_missing = isinstance(event, Checked) and event.missing is None
    return (state, ()) if found_nothing_missing or state.pid is not None else (Stopped(state.ledger), ())


def _stop_harder(state: Stopping, _: Tick, now: float) -> Step:
    if now >= state.give_up_at:
        return Stopped(state.ledger), (Effect.KILL,)
    if state.kill_at is not None and now >= state.kill_at:
        return replace(state, kill_at=None), (Effect.KILL,)
    return state, ()


NO_PROCESS = Ignored("there is no process: the word of an earlier one")
ONE_IS_THERE = Ignored("a process exists: nothing was launched or looked up")
ON_ITS_WAY = Ignored("a start comes anyway")
NO_DEADLINE = Ignored("this state has no deadline")
OVER = Ignored("it is over")

_END: Mapping[type[State], str] = {Ending: ""}
_CRASH: Mapping[type[State], str] = {BackingOff: "", Failed: "crashed too often"}
_STOPPING: Mapping[type[State], str] = {Stopping: ""}
_RUNNING: Mapping[type[Event], Row | Ignored] = {
    Checked: ONE_IS_THERE,
    Spawned: ONE_IS_THERE,
    LaunchFailed: ONE_IS_THERE,
    Exited: Row(_died, _CRASH),
    RestartAsked: Row(_restart, _END),
    RepairAsked: Row(_repair, _END),
    StopAsked: Row(_stop, _STOPPING),
}
_WITHOUT: Mapping[type[Event], Row | Ignored] = {
    Spawned: NO_PROCESS,
    LaunchFailed: NO_PROCESS,
    Exited: NO_PROCESS,
    Answered: NO_PROCESS,
    Silent: NO_PROCESS,
}

TABLE: Mapping[type[State], Mapping[type[Event], Row | Ignored]] = {
    Waiting: {
        **_WITHOUT,
        Checked: Row(_checked, {Launching: "nothing is missing", Waiting: ""}),
        FilesChanged: Row(_check_now, {Waiting: ""}),
        RestartAsked: ON_ITS_WAY,
        RepairAsked: Row(_mend, {Waiting: ""}),
        StopAsked: Row(_never_mind, {Stopped: ""}),
        Tick: Row(_check_when_due, {Waiting: ""}),
    },
    Launching: {
        **_WITHOUT,
        Checked: Row(_found_missing, {Waiting: "something is missing", Launching: ""}),
        Spawned: Row(_spawned, {Starting: ""}),
        LaunchFailed: Row(_not_launched, _CRASH),
        FilesChanged: ON_ITS_WAY,
        RestartAsked: ON_ITS_WAY,
        RepairAsked: Ignored("a launch repairs first; what comes later waits for the next one"),
        StopAsked: Row(_abandon, _STOPPING),
        Tick: NO_DEADLINE,
    },
    Starting: {
        **_RUNNING,
        Answered: Row(_became_ready, {Ready: ""}),
        Silent: Ignored("no sign of life is owed before the first answer; answer_by sees to it"),
        FilesChanged: Row(_forget_values, {Ending: ".env deleted", Starting: ""}),
        Tick: Row(_never_answered, {Ending: "never answered", Starting: ""}),
    },
    Ready: {
        **_RUNNING,
        Answered: Ignored("as it should be"),
        Silent: Row(_fell_silent, {Unresponsive: ""}),
        FilesChanged: Row(_forget_values, {Ending: ".env deleted", Ready: ""}),
        Tick: NO_DEADLINE,
    },
    Unresponsive: {
        **_RUNNING,
        Answered: Row(_came_back, {Ready: ""}),
        Silent: Row(_be_patient, {Unresponsive: ""}),
        FilesChanged: Row(_forget_values, {Ending: ".env deleted", Unresponsive: ""}),
        Tick: Row(_hung, {Ending: "hung", Unresponsive: ""}),
    },
    Ending: {
        **_RUNNING,
        Exited: Row(_ended, {Launching: "a restart", **_CRASH}),
        Answered: Ignored("it was told to end"),
        Silent: Ignored("it was told to end"),
        FilesChanged: ON_ITS_WAY,
        RestartAsked: Row(_restart_after_all, {Ending: ""}),
        RepairAsked: Ignored("the launch after this end repairs first"),
        StopAsked: Row(_stop_instead, _STOPPING),
        Tick: Row(_kill_again, {Ending: ""}),
    },
    BackingOff: {
        **_WITHOUT,
        Checked: Ignored("the launch looks for itself"),
        FilesChanged: Row(_try_mended, {Launching: "its configuration", BackingOff: ""}),
        RestartAsked: Row(_try_asked, {Launching: ""}),
        RepairAsked: Row(_mend, {BackingOff: ""}),
        StopAsked: Row(_never_mind, {Stopped: ""}),
        Tick: Row(_try_when_due, {Launching: "the pause is over", BackingOff: ""}),
    },
    Failed: {
        **_WITHOUT,
        Checked: Ignored("the launch looks for itself"),
        FilesChanged: Row(_try_changed, {Launching: ""}),
        RestartAsked: Row(_try_asked, {Launching: ""}),
        RepairAsked: Row(_mend, {Failed: ""}),
        StopAsked: Row(_never_mind, {Stopped: ""}),
        Tick: NO_DEADLINE,
    },
    Stopping: {
        Checked: Row(_abandoned, {Stopped: "no process", Stopping: ""}),
        Spawned: Row(_spawned_too_late, _STOPPING),
        LaunchFailed: Row(_abandoned, {Stopped: "no process", Stopping: ""}),
        Exited: Row(_gone, {Stopped: ""}),
        Answered: OVER,
        Silent: OVER,
        FilesChanged: OVER,
        RestartAsked: OVER,
        RepairAsked: OVER,
        StopAsked: OVER,
        Tick: Row(_stop_harder, {Stopped: "given up", Stopping: ""}),
    },
    Stopped: dict.fromkeys(get_args(Event), OVER),
}
