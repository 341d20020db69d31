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
from dataclasses import dataclass
from typing import Any, get_args

from agent.devserver import transitions as to
from agent.devserver.states import (
    Answered,
    BackingOff,
    Checked,
    Ending,
    Event,
    Exited,
    Failed,
    FatalSaid,
    FilesChanged,
    LaunchFailed,
    Launching,
    Listening,
    Ready,
    RepairAsked,
    RestartAsked,
    Silent,
    Spawned,
    Starting,
    State,
    Step,
    StopAsked,
    Stopped,
    Stopping,
    Tick,
    Unresponsive,
    Waiting,
)


@dataclass(frozen=True, slots=True)
class Row:
    """`to` names every state that `do` may lead to, and when."""

    do: Callable[[Any, Any, float], Step]
    to: Mapping[type[State], str]


@dataclass(frozen=True, slots=True)
class Ignored:
    why: str


NO_PROCESS = Ignored("there is no process: the word of an earlier one")
ONE_IS_THERE = Ignored("a process exists: nothing was launched or looked up")
ON_ITS_WAY = Ignored("a start comes anyway")
NO_DEADLINE = Ignored("this state has no deadline")
OVER = Ignored("it is over")

_END: Mapping[type[State], str] = {Ending: ""}
_CRASH: Mapping[type[State], str] = {BackingOff: "", Failed: "too often, or twice by the same configuration"}
_STOPPING: Mapping[type[State], str] = {Stopping: ""}
_RUNNING: Mapping[type[Event], Row | Ignored] = {
    Listening: Ignored("its page has been seen already, and Answered tells the rest"),
    FatalSaid: Ignored("what still answers did not give up, and what does not is silent"),
    Checked: ONE_IS_THERE,
    Spawned: ONE_IS_THERE,
    LaunchFailed: ONE_IS_THERE,
    Exited: Row(to.died, _CRASH),
    RestartAsked: Row(to.restart, _END),
    RepairAsked: Row(to.repair, _END),
    StopAsked: Row(to.stop, _STOPPING),
}
_WITHOUT: Mapping[type[Event], Row | Ignored] = {
    Spawned: NO_PROCESS,
    LaunchFailed: NO_PROCESS,
    Exited: NO_PROCESS,
    Answered: NO_PROCESS,
    Silent: NO_PROCESS,
    Listening: NO_PROCESS,
    FatalSaid: NO_PROCESS,
}

TABLE: Mapping[type[State], Mapping[type[Event], Row | Ignored]] = {
    Waiting: {
        **_WITHOUT,
        Checked: Row(to.checked, {Launching: "nothing is missing", Waiting: ""}),
        FilesChanged: Row(to.check_now, {Waiting: ""}),
        RestartAsked: ON_ITS_WAY,
        RepairAsked: Row(to.mend, {Waiting: ""}),
        StopAsked: Row(to.never_mind, {Stopped: ""}),
        Tick: Row(to.check_when_due, {Waiting: ""}),
    },
    Launching: {
        **_WITHOUT,
        Checked: Row(to.found_missing, {Waiting: "something is missing", Launching: ""}),
        Spawned: Row(to.spawned, {Starting: ""}),
        LaunchFailed: Row(to.not_launched, _CRASH),
        FilesChanged: ON_ITS_WAY,
        RestartAsked: ON_ITS_WAY,
        RepairAsked: Ignored("a launch repairs first; what comes later waits for the next one"),
        StopAsked: Row(to.abandon, _STOPPING),
        Tick: NO_DEADLINE,
    },
    Starting: {
        **_RUNNING,
        Answered: Row(to.became_ready, {Ready: ""}),
        Silent: Row(to.quiet_or_not, {Starting: ""}),
        Listening: Row(to.listens, {Ready: "its first page waits for something", Starting: ""}),
        FatalSaid: Row(to.gave_up, {Starting: ""}),
        FilesChanged: Row(to.changed_while_starting, {Ending: "it will not read them", Starting: ""}),
        Tick: Row(to.never_answered, {Ending: "never answered, stalled or in a loop", Starting: ""}),
    },
    Ready: {
        **_RUNNING,
        Answered: Row(to.still_ready, {Ready: ""}),
        Silent: Row(to.fell_silent, {Unresponsive: ""}),
        FilesChanged: Row(to.changed_while_ready, {Ending: "a restart is needed", Ready: ""}),
        Tick: NO_DEADLINE,
    },
    Unresponsive: {
        **_RUNNING,
        Answered: Row(to.came_back, {Ready: ""}),
        Silent: Row(to.be_patient, {Unresponsive: ""}),
        FilesChanged: Row(to.changed_while_silent, {Ending: "a restart is needed, or it spins", Unresponsive: ""}),
        Tick: Row(to.hung, {Ending: "hung or in a loop", Unresponsive: ""}),
    },
    Ending: {
        **_RUNNING,
        Exited: Row(to.ended, {Launching: "a restart", **_CRASH}),
        Answered: Ignored("it was told to end"),
        Silent: Ignored("it was told to end"),
        FilesChanged: ON_ITS_WAY,
        RestartAsked: Row(to.restart_after_all, {Ending: ""}),
        RepairAsked: Ignored("the launch after this end repairs first"),
        StopAsked: Row(to.stop_instead, _STOPPING),
        Tick: Row(to.kill_again, {Ending: ""}),
    },
    BackingOff: {
        **_WITHOUT,
        Checked: Ignored("the launch looks for itself"),
        FilesChanged: Row(to.try_mended, {Launching: "what ended it", BackingOff: ""}),
        RestartAsked: Row(to.try_asked, {Launching: ""}),
        RepairAsked: Row(to.mend, {BackingOff: ""}),
        StopAsked: Row(to.never_mind, {Stopped: ""}),
        Tick: Row(to.try_when_due, {Launching: "the pause is over", BackingOff: ""}),
    },
    Failed: {
        **_WITHOUT,
        Checked: Ignored("the launch looks for itself"),
        FilesChanged: Row(to.try_changed, {Launching: ""}),
        RestartAsked: Row(to.try_asked, {Launching: ""}),
        RepairAsked: Row(to.mend, {Failed: ""}),
        StopAsked: Row(to.never_mind, {Stopped: ""}),
        Tick: NO_DEADLINE,
    },
    Stopping: {
        Checked: Row(to.abandoned, {Stopped: "no process", Stopping: ""}),
        Spawned: Row(to.spawned_too_late, _STOPPING),
        LaunchFailed: Row(to.abandoned, {Stopped: "no process", Stopping: ""}),
        Exited: Row(to.gone, {Stopped: ""}),
        Answered: OVER,
        Silent: OVER,
        Listening: OVER,
        FatalSaid: OVER,
        FilesChanged: OVER,
        RestartAsked: OVER,
        RepairAsked: OVER,
        StopAsked: OVER,
        Tick: Row(to.stop_harder, {Stopped: "given up", Stopping: ""}),
    },
    Stopped: dict.fromkeys(get_args(Event), OVER),
}


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
