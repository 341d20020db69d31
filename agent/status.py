"""The status snapshot from which /status, /metrics, /events, the reports and the pages are made.

Each room publishes its facts to the StatusBoard (status_board.py) as one frozen value. The state of the agent as a
whole is never stored: `phase`, `blocked`, `unhealthy` and `missing` are computed from the facts, so they cannot
disagree. Pure.

What must not live here: anything that acts on a fact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agent.error_line import ErrorLine
from agent.problem_codes import GENERAL

Phase = Literal["starting", "running", "degraded", "sleeping", "stopping"]
SyncState = Literal["starting", "current", "held", "failing"]
DevServerState = Literal["waiting", "starting", "ready", "unresponsive", "restarting", "failed", "stopping", "stopped"]
InstallState = Literal["idle", "running", "failed"]
Level = Literal["error", "warning"]
Source = Literal["compile", "runtime", "install", "sync", "dev_server"]
Activity = Literal["request", "input", "edit", "editor", "none"]


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of the sync that lasts now, since when, and when it is retried. Times are RFC 3339."""

    code: str
    message: str
    since: str
    tries: int
    next_try_at: str | None


@dataclass(frozen=True, slots=True)
class SyncFacts:
    """`state`: starting = no set is on disk yet; held = an answer was held back (`held` says why).

    `backend`: which of the contract's optional features the backend last showed.
    `progress`: (files staged, files expected or None) while a set is being received.
    """

    state: SyncState = "starting"
    revision: int | None = None
    etag: str | None = None
    files: int = 0
    bytes: int = 0
    applied_at: str | None = None
    answered_at: str | None = None
    backend: tuple[Literal["etag", "wait", "delta", "stream", "blobs", "revision"], ...] = ()
    progress: tuple[int, int | None] | None = None
    held: str | None = None
    failure: Failure | None = None
    requests: int = 0
    sets_applied: int = 0
    bytes_received: int = 0


@dataclass(frozen=True, slots=True)
class Repair:
    """An automatic repair of the dev server. `at` is RFC 3339.

    `outcome`: `running`, `ready after 3.1 s`, or `did not help: …`.
    """

    what: str
    why: str
    at: str
    outcome: str


@dataclass(frozen=True, slots=True)
class DevServerFacts:
    """`reason`: why it is in this state, one sentence. `restarts` counts starts after the first, `crashes` the unasked
    exits among their causes. Memory is bytes over the whole process tree, `cpu` is cores.

    `memory_limit_bytes` is the smallest limit that binds the dev server, whoever set it, and `memory_used_bytes` what
    is taken of it by everything there; `oom_kills`: how often the kernel has killed there for want of memory.
    `repairs`: the last ones, newest last; `repaired` counts all of them. `hung_routes`: the paths that kept it busy
    without an end; until files change, nobody gets them from it.

    `framework`, `framework_version`, `command` and `app_dir` (empty: the root) say what is run, and `notes` what its
    owner should know about how. `start_path`: where the app's first page is. `checks_host`: it answers only requests
    for its own address, and `checks_origin` that it compares an Origin with that too.

    `waits_for_files`: it is not started, and only a change of the app's files brings it on. `error`: what ended the
    last process; it is tried again, and ends the same way unless something changes.
    """

    state: DevServerState = "waiting"
    reason: str = "not started yet"
    pid: int | None = None
    restarts: int = 0
    crashes: int = 0
    started_at: str | None = None
    ready_at: str | None = None
    next_try_at: str | None = None
    compiling: bool = False
    rss_bytes: int = 0
    pss_bytes: int | None = None
    cpu: float = 0.0
    processes: int = 0
    memory_limit_bytes: int | None = None
    memory_used_bytes: int | None = None
    oom_kills: int | None = None
    disk_free_bytes: int | None = None
    repairs: tuple[Repair, ...] = ()
    repaired: int = 0
    hung_routes: tuple[str, ...] = ()
    waits_for_files: bool = False
    error: ErrorLine | None = None
    framework: str | None = None
    framework_version: str | None = None
    command: str | None = None
    app_dir: str = ""
    notes: tuple[str, ...] = ()
    start_path: str = "/"
    checks_host: bool = False
    checks_origin: bool = False


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request to the app without an answer yet. `path` has no query. `since`: monotonic seconds."""

    path: str
    since: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests between the gateway and the dev server. `answered_at`: the last complete answer. `waiting` includes
    requests whose browser has disconnected, because a dev server that hangs does not notice that.
    """

    answered_at: float = 0.0
    waiting: tuple[WaitingRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class IsolationFacts:
    """`user`: the user that runs the app's code, if it is not the agent's own. `reason`: why."""

    user: str | None = None
    reason: str = "not looked at yet"


@dataclass(frozen=True, slots=True)
class InstallFacts:
    """The app's packages. `state`: idle = node_modules is what package.json asks for, or nothing was asked yet.

    `progress`: how far a running one is, in a few words. `reason`: why the last one failed. `seconds`: how long the
    last one took. `blocks`: it failed and no earlier state of the packages works, so the dev server is not started.
    """

    state: InstallState = "idle"
    manager: Literal["npm", "pnpm", "yarn", "yarn-berry", "bun"] | None = None
    since: str | None = None
    progress: str | None = None
    reason: str | None = None
    seconds: float | None = None
    runs: int = 0
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the app (contract, section 4). `file` is relative to the workspace; line and column count from 1.

    `level`: an error prevents something from working, a warning does not. `code`: the stable name of the
    kind of problem (problem_codes.py); without one, the general code of its source.
    """

    source: Source
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    since_revision: int | None = None
    level: Level = "error"
    code: str = ""

    def __post_init__(self) -> None:
        if not self.code:
            object.__setattr__(self, "code", GENERAL[self.source])  # the way a frozen dataclass completes itself


@dataclass(frozen=True, slots=True)
class Note:
    """A remark about the app's files that is not an error, but explains unexpected behaviour."""

    message: str
    file: str | None = None


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a check of the app's files found. `broken`: problems with which no dev server can start, such as an invalid
    tsconfig.json. `faulty`: problems that do not prevent the start.
    """

    broken: tuple[Problem, ...] = ()
    faulty: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """One set or delta that is on disk. Paths are relative to the workspace; times are RFC 3339."""

    revision: int | None
    etag: str | None
    written: tuple[str, ...]
    deleted: tuple[str, ...]
    received_at: str
    written_at: str


@dataclass(frozen=True, slots=True)
class IdleFacts:
    """What kept the machine awake last, in the contract's word (section 4), in its own (`kind`, `source`), and as a
    clause (`reason`); `attended`: it proved that a person is there. Times are RFC 3339. `never`: why it does not sleep
    by itself. `visible` and `hidden` count the open pages of the app.
    """

    mode: Literal["exit", "suspend", "off"] = "off"
    last_activity: Activity = "none"
    last_activity_at: str | None = None
    kind: str = "start"
    source: str = ""
    attended: bool = True
    reason: str = "the machine started"
    sleep_at: str | None = None
    never: str | None = None
    visible: int = 0
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    app_id: str
    machine: str
    started_at: str
    version: str
    sync: SyncFacts = field(default_factory=SyncFacts)
    dev_server: DevServerFacts = field(default_factory=DevServerFacts)
    idle: IdleFacts = field(default_factory=IdleFacts)
    isolation: IsolationFacts = field(default_factory=IsolationFacts)
    install: InstallFacts = field(default_factory=InstallFacts)
    problems: tuple[Problem, ...] = ()
    broken: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()
    sleeping: bool = False
    stopping: bool = False


def phase(now: Snapshot) -> Phase:
    """The state of the agent as a whole, by the contract's names (section 4)."""
    if now.sleeping:
        return "sleeping"
    if now.stopping:
        return "stopping"
    if now.sync.applied_at is None or (now.dev_server.ready_at is None and blocked(now) is None):
        return "starting"
    if now.sync.state == "current" and now.dev_server.state == "ready" and now.install.state != "failed":
        return "running"
    return "degraded"


def blocked(now: Snapshot) -> str | None:
    """What has to be fixed before the app can be shown, as one sentence. None while the app is shown or starting."""
    dev, failure = now.dev_server, now.sync.failure
    if now.stopping or dev.state in {"ready", "unresponsive", "stopping"}:
        return None
    if failure is not None and failure.code in _REFUSALS and dev.state in {"waiting", "stopped"}:
        return failure.message
    if dev.state == "stopped":
        return None
    if now.install.blocks:
        return now.install.reason or "the packages could not be installed"
    if now.broken:
        return now.broken[0].message
    if dev.error is not None:
        return dev.error.headline
    return dev.reason if dev.waits_for_files or dev.state == "failed" else None


_REFUSALS = frozenset({"unauthorized", "no_such_app"})


def unhealthy(now: Snapshot) -> str | None:
    """Why /healthz is 503, or None. Only a dev server that was given up is unhealthy; other failures are retried."""
    if now.dev_server.state == "failed":
        return f"the dev server gave up: {now.dev_server.reason}"
    return None


def missing(now: Snapshot) -> tuple[str, ...]:
    """What /readyz still waits for; empty when the preview is ready."""
    waits = []
    if now.sync.applied_at is None:
        waits.append("the first sync is not on disk" + (f": {now.sync.failure.message}" if now.sync.failure else ""))
    if now.install.blocks:
        waits.append(f"the packages are not installed: {' '.join((now.install.reason or '').split())}")
    elif now.dev_server.state != "ready":
        waits.append(f"the dev server is {now.dev_server.state}: {now.dev_server.reason}")
    if now.stopping:
        waits.append("the agent is stopping")
    return tuple(waits)
