"""The dev server's state machine: one table from (state, event) to the next state and the effects it asks for. Pure.

Invariants:
  - Every pair of a state and an event has a row. `Ignored` says why a pair has no consequence.
  - At most one dev server exists: LAUNCH is requested only after `Exited`, which means that the main process and
    everything it started are gone. `Spawned` means that a new process exists.
  - An unrequested exit is a crash even with status 0, because Next's parent exits with 0 when its server is killed.
  - A process that was sent SIGTERM is killed when its grace period is over.

What must not live here: time, chance and processes. `now` is an argument, and the random
number for the back-off's jitter is a field of the event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from agent.devserver import transitions as to
from agent.devserver.events import (
    Answered,
    Checked,
    Event,
    Exited,
    FatalLogged,
    FilesChanged,
    LaunchFailed,
    Listening,
    RepairAsked,
    RestartAsked,
    Silent,
    Spawned,
    StopAsked,
    Tick,
)
from agent.devserver.states import (
    BackingOff,
    Ending,
    Failed,
    Launching,
    Ready,
    Starting,
    State,
    Stopped,
    Stopping,
    Transition,
    Unresponsive,
    Waiting,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One transition of the table."""

    do: Callable[[Any, Any, float], Transition]
    to: Mapping[type[State], str]
    """Every state that `do` may lead to, with the condition."""


@dataclass(frozen=True, slots=True)
class Ignored:
    why: str


NO_PROCESS = Ignored("there is no process: the event is about an earlier one")
ONE_IS_THERE = Ignored("a process exists, so no launch or check can be in progress")
ON_ITS_WAY = Ignored("a start follows anyway")
NO_DEADLINE = Ignored("this state has no deadline")
OVER = Ignored("the dev server is being stopped for good")

_END: Mapping[type[State], str] = {Ending: ""}
_CRASH: Mapping[type[State], str] = {BackingOff: "", Failed: "too often, or twice because of the same configuration"}
_STOPPING: Mapping[type[State], str] = {Stopping: ""}
_RUNNING: Mapping[type[Event], Row | Ignored] = {
    Listening: Ignored("only Starting uses it; from then on Answered and Silent count"),
    FatalLogged: Ignored("Answered and Silent say whether it still works"),
    Checked: ONE_IS_THERE,
    Spawned: ONE_IS_THERE,
    LaunchFailed: ONE_IS_THERE,
    Exited: Row(to.exited, _CRASH),
    RestartAsked: Row(to.end_for_restart, _END),
    RepairAsked: Row(to.end_for_repair, _END),
    StopAsked: Row(to.end_for_stop, _STOPPING),
}
_WITHOUT: Mapping[type[Event], Row | Ignored] = {
    Spawned: NO_PROCESS,
    LaunchFailed: NO_PROCESS,
    Exited: NO_PROCESS,
    Answered: NO_PROCESS,
    Silent: NO_PROCESS,
    Listening: NO_PROCESS,
    FatalLogged: NO_PROCESS,
}

TABLE: Mapping[type[State], Mapping[type[Event], Row | Ignored]] = {
    Waiting: {
        **_WITHOUT,
        Checked: Row(to.launch_if_complete, {Launching: "nothing is missing", Waiting: ""}),
        FilesChanged: Row(to.check_now, {Waiting: ""}),
        RestartAsked: ON_ITS_WAY,
        RepairAsked: Row(to.repair_now, {Waiting: ""}),
        StopAsked: Row(to.stop_without_process, {Stopped: ""}),
        Tick: Row(to.check_when_due, {Waiting: ""}),
    },
    Launching: {
        **_WITHOUT,
        Checked: Row(to.wait_for_missing, {Waiting: "something is missing", Launching: ""}),
        Spawned: Row(to.start, {Starting: ""}),
        LaunchFailed: Row(to.launch_failed, _CRASH),
        FilesChanged: ON_ITS_WAY,
        RestartAsked: ON_ITS_WAY,
        RepairAsked: Ignored(
            "a launch begins with the repairs that are due; one requested later waits for the next launch"
        ),
        StopAsked: Row(to.cancel_launch, _STOPPING),
        Tick: NO_DEADLINE,
    },
    Starting: {
        **_RUNNING,
        Answered: Row(to.became_ready, {Ready: ""}),
        Silent: Row(to.note_silence, {Starting: ""}),
        Listening: Row(to.note_listening, {Ready: "its first page is slow", Starting: ""}),
        FatalLogged: Row(to.note_fatal, {Starting: ""}),
        FilesChanged: Row(to.changed_while_starting, {Ending: "it will not read the change", Starting: ""}),
        Tick: Row(to.end_if_start_overdue, {Ending: "never answered, stalled or in a loop", Starting: ""}),
    },
    Ready: {
        **_RUNNING,
        Answered: Row(to.still_ready, {Ready: ""}),
        Silent: Row(to.became_unresponsive, {Unresponsive: ""}),
        FilesChanged: Row(to.changed_while_ready, {Ending: "a restart is needed", Ready: ""}),
        Tick: NO_DEADLINE,
    },
    Unresponsive: {
        **_RUNNING,
        Answered: Row(to.recovered, {Ready: ""}),
        Silent: Row(to.still_silent, {Unresponsive: ""}),
        FilesChanged: Row(to.changed_while_silent, {Ending: "a restart is needed, or it spins", Unresponsive: ""}),
        Tick: Row(to.end_if_hung, {Ending: "hung or in a loop", Unresponsive: ""}),
    },
    Ending: {
        **_RUNNING,
        Exited: Row(to.launch_or_back_off, {Launching: "a restart", **_CRASH}),
        Answered: Ignored("it was sent SIGTERM"),
        Silent: Ignored("it was sent SIGTERM"),
        FilesChanged: ON_ITS_WAY,
        RestartAsked: Row(to.make_it_a_restart, {Ending: ""}),
        RepairAsked: Ignored("the launch that follows does the due repairs first"),
        StopAsked: Row(to.make_it_a_stop, _STOPPING),
        Tick: Row(to.kill_if_overdue, {Ending: ""}),
    },
    BackingOff: {
        **_WITHOUT,
        Checked: Ignored("the launch checks by itself"),
        FilesChanged: Row(to.launch_if_configuration_changed, {Launching: "the configuration changed", BackingOff: ""}),
        RestartAsked: Row(to.launch_as_asked, {Launching: ""}),
        RepairAsked: Row(to.repair_now, {BackingOff: ""}),
        StopAsked: Row(to.stop_without_process, {Stopped: ""}),
        Tick: Row(to.launch_when_due, {Launching: "the back-off is over", BackingOff: ""}),
    },
    Failed: {
        **_WITHOUT,
        Checked: Ignored("the launch checks by itself"),
        FilesChanged: Row(to.launch_after_change, {Launching: ""}),
        RestartAsked: Row(to.launch_as_asked, {Launching: ""}),
        RepairAsked: Row(to.repair_now, {Failed: ""}),
        StopAsked: Row(to.stop_without_process, {Stopped: ""}),
        Tick: NO_DEADLINE,
    },
    Stopping: {
        Checked: Row(to.stop_if_launch_over, {Stopped: "no process", Stopping: ""}),
        Spawned: Row(to.end_late_process, _STOPPING),
        LaunchFailed: Row(to.stop_if_launch_over, {Stopped: "no process", Stopping: ""}),
        Exited: Row(to.stopped, {Stopped: ""}),
        Answered: OVER,
        Silent: OVER,
        Listening: OVER,
        FatalLogged: OVER,
        FilesChanged: OVER,
        RestartAsked: OVER,
        RepairAsked: OVER,
        StopAsked: OVER,
        Tick: Row(to.escalate_stop, {Stopped: "given up", Stopping: ""}),
    },
    Stopped: dict.fromkeys(get_args(Event), OVER),
}


def step(state: State, event: Event, now: float) -> Transition:
    row = TABLE[type(state)][type(event)]
    if isinstance(row, Ignored):
        return state, ()
    return row.do(state, event, now)


def mermaid() -> str:
    """The table as a Mermaid state diagram, without the pairs that stay in their state."""
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
