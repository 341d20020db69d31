"""The states of the dev server, with their time limits. Pure.

A state carries its own data and its own deadlines. Times are seconds of the monotonic clock. The transitions are in
`lifecycle.TABLE`; nothing here decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from agent.devserver.events import Effect
from agent.error_line import ErrorLine

START_SECONDS: Final = 180.0
"""Limit for the first page: a heavy app on a small shared CPU. Measured: 6 to 19 s on two cores."""
STALLED_SECONDS: Final = 20.0
"""A starting server that neither answers nor uses the CPU for this long is stuck. Measured on Next 16.4: the longest
such pause of a start that succeeds is under 2 s.
"""
FATAL_SECONDS: Final = 3.0
"""The same limit for a server that has logged an error after which Next never answers."""
HUNG_SECONDS: Final = 30.0
"""A server that was ready, does not answer and does not use the CPU for this long is hung."""
BUSY_SECONDS: Final = 300.0
"""A silent server that uses the CPU is taken to be compiling, but for no longer than this."""
SPIN_DETECTION_SECONDS: Final = 8.0
"""How long a server can be silent before that is noticed: the pause between two probes, and one probe's time-out."""
LOOP_SECONDS: Final = 30.0 - SPIN_DETECTION_SECONDS
"""How long a server may spin (use a core, compile nothing, answer nothing) once that is noticed."""
FIRST_LOOP_SECONDS: Final = 60.0
"""The same before the first page, which also evaluates the app's modules: slow on a small CPU."""
EDITED_LOOP_SECONDS: Final = 3.0
"""The same after files changed: Next cannot read the change while it spins."""
GRACE_SECONDS: Final = 1.0
"""From SIGTERM to SIGKILL. Measured: Next needs 0.1 to 0.5 s to exit."""
KILLED_SECONDS: Final = 0.5
"""How long a stop waits for the kernel to remove a killed group before it goes on."""
CHECK_SECONDS: Final = 1.0
"""How often a waiting state looks whether what is missing has arrived."""
BACK_OFF_BASE: Final = 1.0
BACK_OFF_CAP: Final = 60.0
CRASHES_ALLOWED: Final = 5
CRASH_WINDOW: Final = 600.0
CONFIG_FAILURES_ALLOWED: Final = 2
"""How often in a row the server may exit with the same configuration error. The second try costs a second or two, and
covers errors that came from the network; after it only a change of files can help.
"""
STEADY_SECONDS: Final = BACK_OFF_CAP
"""A server that was ready for this long starts again with the shortest back-off. As long as the longest back-off: a
server that fails sooner is down most of the time, so its failures belong together.
"""


@dataclass(frozen=True, slots=True)
class CrashHistory:
    """Starts and crashes, kept across states."""

    starts: int = 0
    crashes: int = 0
    recent: tuple[float, ...] = ()
    """When it crashed within the last CRASH_WINDOW seconds."""
    streak: int = 0
    """Failures in a row, for the back-off."""
    last_failure: str | None = None
    """Why it last failed; None again once it is ready."""
    config_failures: int = 0
    """How many crashes in a row had this same reason, where it is an error in the app's configuration."""
    error: ErrorLine | None = None
    """The error that the next process will hit too, until somebody changes the app's files."""

    def with_crash(
        self,
        now: float,
        why: str,
        ready_since: float | None,
        *,
        config_error: bool = False,
        error: ErrorLine | None = None,
    ) -> CrashHistory:
        # A server that had answered can come up again, unless its configuration fails.
        persists = error is not None and (ready_since is None or ".config." in (error.place or ""))
        steady = ready_since is not None and now - ready_since >= STEADY_SECONDS
        return replace(
            self,
            crashes=self.crashes + 1,
            recent=(*(at for at in self.recent if now - at < CRASH_WINDOW), now),
            streak=1 if steady else self.streak + 1,
            last_failure=why,
            config_failures=(self.config_failures + 1 if why == self.last_failure else 1) if config_error else 0,
            error=error if persists else None,
        )

    def with_outside_failure(self, why: str) -> CrashHistory:
        """A failure whose cause is outside the app: it lengthens the back-off, and is not counted as a crash."""
        return replace(self, streak=self.streak + 1, last_failure=why, error=None)

    def with_new_budget(self) -> CrashHistory:
        """The crash limit and the back-off start anew, because files changed or somebody asked for a restart."""
        return replace(self, recent=(), streak=0, config_failures=0, error=None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that the command needs is not on disk yet."""

    history: CrashHistory
    missing: str
    check_at: float


@dataclass(frozen=True, slots=True)
class Launching:
    """Orphans are being ended, repairs done, and the process spawned. Each of these steps has its own deadline."""

    history: CrashHistory
    why: str


@dataclass(frozen=True, slots=True)
class Starting:
    """The process runs and has not served its first page."""

    history: CrashHistory
    pid: int
    answer_by: float
    quiet_since: float | None = None
    """Since when it uses no CPU."""
    fatal: str | None = None
    """It logged this, after which Next never answers."""
    spinning_since: float | None = None
    """As in Unresponsive."""
    route: str | None = None
    """As in Unresponsive."""

    @property
    def stall_deadline(self) -> float | None:
        if self.quiet_since is None:
            return None
        return self.quiet_since + (STALLED_SECONDS if self.fatal is None else FATAL_SECONDS)

    @property
    def loop_deadline(self) -> float | None:
        return None if self.spinning_since is None else self.spinning_since + FIRST_LOOP_SECONDS


@dataclass(frozen=True, slots=True)
class Ready:
    history: CrashHistory
    pid: int
    since: float
    changed: bool = False
    """Files changed since it last answered."""


@dataclass(frozen=True, slots=True)
class Unresponsive:
    """It was ready, and does not answer now."""

    history: CrashHistory
    pid: int
    since: float
    """When it became ready."""
    restart_at: float
    """When it counts as hung. Signs of a compile move this, up to `limit_at`."""
    limit_at: float
    changed: bool = False
    """Files changed since it last answered."""
    spinning_since: float | None = None
    """Since when it uses a core and compiles nothing."""
    route: str | None = None
    """The page that most likely keeps it busy."""

    @property
    def loop_deadline(self) -> float | None:
        if self.spinning_since is None:
            return None
        return self.spinning_since + (EDITED_LOOP_SECONDS if self.changed else LOOP_SECONDS)


@dataclass(frozen=True, slots=True)
class Ending:
    """The process was sent SIGTERM, so that another one can be started."""

    history: CrashHistory
    pid: int
    why: str
    crashed: bool
    """It is ended because it failed, so the next start is subject to the crash limit and the back-off."""
    kill_at: float
    route: str | None = None
    """The page that kept it busy. It is not requested from the next process until files change."""


@dataclass(frozen=True, slots=True)
class BackingOff:
    history: CrashHistory
    why: str
    until: float


@dataclass(frozen=True, slots=True)
class Failed:
    """It is not started again until files change or somebody asks for a restart."""

    history: CrashHistory
    why: str


@dataclass(frozen=True, slots=True)
class Stopping:
    history: CrashHistory
    pid: int | None
    """None while a launch is being cancelled."""
    kill_at: float | None
    """None once the group was sent SIGKILL."""
    give_up_at: float


@dataclass(frozen=True, slots=True)
class Stopped:
    history: CrashHistory


State = Waiting | Launching | Starting | Ready | Unresponsive | Ending | BackingOff | Failed | Stopping | Stopped
Serving = Starting | Ready | Unresponsive
Idle = Waiting | BackingOff | Failed

Transition = tuple[State, tuple[Effect, ...]]


def initial_state(now: float) -> Waiting:
    return Waiting(CrashHistory(), "not started yet", check_at=now)


def deadline(state: State) -> float | None:
    """When the next Tick is due; None if only another event moves this state."""
    match state:
        case Waiting():
            return state.check_at
        case Starting():
            return min(at for at in (state.answer_by, state.stall_deadline, state.loop_deadline) if at is not None)
        case Unresponsive():
            return state.restart_at if state.loop_deadline is None else min(state.restart_at, state.loop_deadline)
        case Ending():
            return state.kill_at
        case BackingOff():
            return state.until
        case Stopping():
            return state.give_up_at if state.kill_at is None else state.kill_at
        case Launching() | Ready() | Failed() | Stopped():
            return None
        case _:
            assert_never(state)
