"""The state of the lifecycle in the words of /status and of the problems feed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from agent.clock import rfc3339
from agent.devserver import hung_route
from agent.devserver.nextjs.hmr_messages import Compile
from agent.devserver.repair.history import Disk, History
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
    """RFC 3339. `ready_at` is when it last became ready, and outlives the process: an app that was seen once is
    degraded by a crash, and not back at its start.
    """

    started_at: str | None = None
    ready_at: str | None = None
    next_try_at: str | None = None

    def after(self, before: State, state: State, *, now: float, wall: float) -> Times:
        """Of a state that became another kind of state. `now` and `wall`: the same moment by both clocks."""
        times = replace(self, next_try_at=rfc3339(wall + state.until - now) if isinstance(state, BackingOff) else None)
        if isinstance(state, Starting):
            return replace(times, started_at=rfc3339(wall))
        return replace(times, ready_at=rfc3339(wall)) if became_ready(before, state) else times


def became_ready(before: State, state: State) -> bool:
    return isinstance(before, Starting) and isinstance(state, Ready)


@dataclass(frozen=True, slots=True)
class Care:
    """What the server stands on, what was repaired, and what somebody else has to mend. `hung_routes`: the pages that
    are kept away from it.
    """

    memory: Memory | None = None
    disk: Disk | None = None
    history: History = field(default_factory=History)
    complaints: tuple[str, ...] = ()
    hung_routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class App:
    """What is run, and what it showed of itself. `stranded`: why nothing is found where the app is looked for."""

    framework: str | None = None
    version: str | None = None
    command: str | None = None
    folder: str = ""
    notes: tuple[str, ...] = ()
    start: str = "/"
    checks_host: bool = False
    checks_origin: bool = False
    stranded: str | None = None


def facts(
    state: State,
    times: Times,
    compile_: Compile,
    sample: Sample,
    care: Care,
    *,
    app: App = App(),
    stuck: bool = False,
) -> DevServerFacts:
    """`stuck`: it waits for something that only a change of the app's files brings."""
    pid = None if isinstance(state, Waiting | Launching | BackingOff | Failed | Stopped) else state.pid
    return DevServerFacts(
        state=_NAMES[type(state)],
        reason=app.stranded if app.stranded and isinstance(state, Starting) else _reason(state),
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
        memory_limit_bytes=care.memory.limit if care.memory else None,
        memory_used_bytes=care.memory.used if care.memory else None,
        oom_kills=care.memory.oom_kills if care.memory else None,
        disk_free_bytes=care.disk.free if care.disk else None,
        repairs=care.history.entries,
        repaired=care.history.total,
        hung_routes=care.hung_routes,
        framework=app.framework,
        framework_version=app.version,
        command=app.command,
        app_dir=app.folder,
        notes=app.notes,
        start_path=app.start,
        checks_host=app.checks_host,
        checks_origin=app.checks_origin,
        waits_for_files=stuck,
        error=state.history.error,
    )


def problems(
    state: State, care: Care, *, synced: bool, now: float = 0.0, stranded: str | None = None
) -> tuple[Problem, ...]:
    """What somebody has to mend. Before the first set is on disk nothing is: what is missing may be on its way."""
    told = [_trouble(state, synced=synced), stranded if isinstance(state, Starting) else None]
    if not isinstance(state, Stopping | Stopped):
        if isinstance(state, Starting | Unresponsive) and state.spinning_since is not None:
            told.append(hung_route.now_busy(state.route, state.spinning_since, now))
        told += [hung_route.kept_away(route) for route in care.hung_routes]
        told += care.complaints
    return tuple(Problem("dev_server", message) for message in told if message is not None)


def _trouble(state: State, *, synced: bool) -> str | None:
    if isinstance(state, Waiting) and synced:
        return f"the dev server cannot start: {state.missing}"
    last_failure = state.history.last_failure
    if isinstance(state, Stopping | Stopped) or last_failure is None:
        return None
    if isinstance(state, Failed):
        return f"the dev server gave up, and a change of files or POST /restart tries again: {last_failure}"
    return f"the dev server is being started again: {last_failure}"


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
            return f"a process is being made: {why}"
        case Starting(fatal=fatal):
            return "it has not answered yet" + (f", and said: {fatal}" if fatal else "")
        case Ready():
            return "it answers"
        case Unresponsive(route=route):
            what = "it compiles, restarts itself or hangs" if route is None else f"{route} keeps it busy"
            return f"it does not answer: {what}"
        case Ending(why=why):
            return f"it is being ended: {why}"
        case BackingOff(why=why) | Failed(why=why):
            return why
        case Stopping() | Stopped():
            return "the agent was told to stop it"
        case _:
            assert_never(state)
