"""The dev server's part of /status and of the problems, computed from its state. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from agent.clock import rfc3339
from agent.devserver import hung_route
from agent.devserver.nextjs.hmr_messages import Compile
from agent.devserver.repair.evidence import DiskSpace
from agent.devserver.repair.history import RepairHistory
from agent.devserver.repair.memory_limit import Memory
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
    Unresponsive,
    Waiting,
)
from agent.process.sample import Sample
from agent.status import DevServerFacts, DevServerState, Problem


@dataclass(frozen=True, slots=True)
class Times:
    """RFC 3339."""

    started_at: str | None = None
    ready_at: str | None = None
    """When it last became ready. Kept after the process exits: an app that was shown once is degraded by a crash, and
    does not count as starting again.
    """
    next_try_at: str | None = None

    def after(self, before: State, state: State, *, now: float, wall: float) -> Times:
        """The times after a change of the kind of state. `now` and `wall`: the same moment by both clocks."""
        times = replace(self, next_try_at=rfc3339(wall + state.until - now) if isinstance(state, BackingOff) else None)
        if isinstance(state, Starting):
            return replace(times, started_at=rfc3339(wall))
        return replace(times, ready_at=rfc3339(wall)) if became_ready(before, state) else times


def became_ready(before: State, state: State) -> bool:
    return isinstance(before, Starting) and isinstance(state, Ready)


@dataclass(frozen=True, slots=True)
class RepairStatus:
    """The resources that repairs watch, and the repairs."""

    memory: Memory | None = None
    disk: DiskSpace | None = None
    history: RepairHistory = field(default_factory=RepairHistory)
    unresolved: tuple[str, ...] = ()
    """The problems that a person has to solve."""
    hung_routes: tuple[str, ...] = ()
    """The pages that are not requested from the dev server, because they kept it busy without end."""


@dataclass(frozen=True, slots=True)
class AppFacts:
    """What is run, and what its first page showed."""

    framework: str | None = None
    version: str | None = None
    command: str | None = None
    folder: str = ""
    notes: tuple[str, ...] = ()
    start: str = "/"
    checks_host: bool = False
    checks_origin: bool = False
    wrong_port: str | None = None
    """The problem that it listens on another port only."""


def facts(
    state: State,
    times: Times,
    compile_: Compile,
    sample: Sample,
    repairs: RepairStatus,
    *,
    app: AppFacts = AppFacts(),
    waits_for_files: bool = False,
) -> DevServerFacts:
    """`waits_for_files`: what is missing can only come with a change of the app's files."""
    pid = None if isinstance(state, Waiting | Launching | BackingOff | Failed | Stopped) else state.pid
    return DevServerFacts(
        state=_NAMES[type(state)],
        reason=app.wrong_port if app.wrong_port and isinstance(state, Starting) else _reason(state),
        pid=pid,
        restarts=max(0, state.history.starts - 1),
        crashes=state.history.crashes,
        started_at=times.started_at,
        ready_at=times.ready_at,
        next_try_at=times.next_try_at,
        compiling=compile_.compiling,
        rss_bytes=sample.rss,
        pss_bytes=sample.pss,
        cpu=sample.cpu,
        processes=sample.processes,
        memory_limit_bytes=repairs.memory.limit if repairs.memory else None,
        memory_used_bytes=repairs.memory.used if repairs.memory else None,
        oom_kills=repairs.memory.oom_kills if repairs.memory else None,
        disk_free_bytes=repairs.disk.free if repairs.disk else None,
        repairs=repairs.history.entries,
        repaired=repairs.history.total,
        hung_routes=repairs.hung_routes,
        framework=app.framework,
        framework_version=app.version,
        command=app.command,
        app_dir=app.folder,
        notes=app.notes,
        start_path=app.start,
        checks_host=app.checks_host,
        checks_origin=app.checks_origin,
        waits_for_files=waits_for_files,
        error=state.history.error,
    )


def problems(
    state: State, repairs: RepairStatus, *, waits_for_files: bool, now: float = 0.0, wrong_port: str | None = None
) -> tuple[Problem, ...]:
    """What somebody has to fix. Something missing is a problem only if `waits_for_files`: else it may still arrive."""
    found: list[tuple[str | None, str]] = [_failure(state, waits_for_files=waits_for_files)]
    if isinstance(state, Starting):
        found.append((wrong_port, "wrong-port"))
    if not isinstance(state, Stopping | Stopped):
        if isinstance(state, Starting | Unresponsive) and state.spinning_since is not None:
            found.append((hung_route.busy_problem(state.route, state.spinning_since, now), "page-hangs"))
        found += ((hung_route.blocked_problem(route), "page-hangs") for route in repairs.hung_routes)
        found += ((message, "resource-limit") for message in repairs.unresolved)
    return tuple(Problem("dev_server", message, code=code) for message, code in found if message is not None)


def _failure(state: State, *, waits_for_files: bool) -> tuple[str | None, str]:
    """Why the dev server does not run, if it does not, and the code of that problem."""
    code = "dev-server-failed"
    if isinstance(state, Waiting) and waits_for_files:
        return f"the dev server cannot start: {state.missing}", "cannot-start"
    last_failure = state.history.last_failure
    if isinstance(state, Stopping | Stopped) or last_failure is None:
        return None, code
    if isinstance(state, Failed):
        return f"the dev server gave up, and a change of files or POST /restart tries again: {last_failure}", code
    return f"the dev server is being started again: {last_failure}", code


_NAMES: Mapping[type[State], DevServerState] = {
    Waiting: "waiting",
    Launching: "starting",
    Starting: "starting",
    Ready: "ready",
    Unresponsive: "unresponsive",
    Ending: "restarting",
    BackingOff: "restarting",
    Failed: "failed",
    Stopping: "stopping",
    Stopped: "stopped",
}


def _reason(state: State) -> str:
    match state:
        case Waiting(missing=missing):
            return missing
        case Launching(why=why):
            return f"it is being started: {why}"
        case Starting(fatal=fatal):
            return "it has not answered yet" + (f", and logged: {fatal}" if fatal else "")
        case Ready():
            return "it answers"
        case Unresponsive(route=route):
            cause = "it compiles, restarts itself or hangs" if route is None else f"{route} keeps it busy"
            return f"it does not answer: {cause}"
        case Ending(why=why):
            return f"it is being ended: {why}"
        case BackingOff(why=why) | Failed(why=why):
            return why
        case Stopping() | Stopped():
            return "the agent stops it"
        case _:
            assert_never(state)
