"""The words of the dev server's life: its states, what may happen to it, what may be asked for, and how long. Pure.

A state holds its own data and its own deadline. Times are seconds of the monotonic clock. `lifecycle` has the table
that moves from one state to the next; nothing here decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, assert_never

from agent.devserver.rules import Meaning
from agent.error_line import ErrorLine, find

START_SECONDS: Final = 180.0  # the first page of a heavy app on a small shared CPU; measured: 6 to 19 s on two cores
HUNG_SECONDS: Final = 30.0
BUSY_SECONDS: Final = 300.0  # a silent server that works is compiling; one that works for this long is spinning
GRACE_SECONDS: Final = 1.0  # SIGTERM to SIGKILL; measured: Next needs 0.1 to 0.5 s
KILLED_SECONDS: Final = 0.5  # what the kernel gets to clear away a killed group before a stop goes on without it
CHECK_SECONDS: Final = 1.0
BACK_OFF_BASE: Final = 1.0
BACK_OFF_CAP: Final = 60.0
CRASHES_ALLOWED: Final = 5
CRASH_WINDOW: Final = 600.0
STEADY_SECONDS: Final = BACK_OFF_CAP
"""Ready for this long, and the next pause is a short one again. As long as the longest pause: a server that fails
sooner spends most of its time down, so its failures are one story; one that ran for longer failed for a new reason.
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is remembered across states. `streak`: crashes in a row. `trouble`: the last crash, until ready again.
    `error`: what will end the next process too, until somebody changed something that may mend it.
    """

    starts: int = 0
    crashes: int = 0
    recent: tuple[float, ...] = ()
    streak: int = 0
    trouble: str | None = None
    error: ErrorLine | None = None

    def crashed(self, now: float, why: str, ready_since: float | None, error: ErrorLine | None = None) -> Ledger:
        # A server that had answered may well come up again, unless it is its configuration that fails.
        again = error is not None and (ready_since is None or ".config." in (error.place or ""))
        steady = ready_since is not None and now - ready_since >= STEADY_SECONDS
        return replace(
            self,
            crashes=self.crashes + 1,
            recent=(*(at for at in self.recent if now - at < CRASH_WINDOW), now),
            streak=1 if steady else self.streak + 1,
            trouble=why,
            error=error if again else None,
        )

    def hindered(self, why: str) -> Ledger:
        """It could not run, for a reason outside of the app: that waits its turn, and is no crash of the app's."""
        return replace(self, streak=self.streak + 1, trouble=why, error=None)

    def forgiven(self) -> Ledger:
        """A new budget: somebody mended something, or asked."""
        return replace(self, recent=(), streak=0, error=None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that the command needs is not on disk."""

    ledger: Ledger
    missing: str
    check_at: float


@dataclass(frozen=True, slots=True)
class Launching:
    """The way is being cleared and a process made. This has no deadline here: each step of it has its own."""

    ledger: Ledger
    why: str


@dataclass(frozen=True, slots=True)
class Starting:
    ledger: Ledger
    pid: int
    answer_by: float


@dataclass(frozen=True, slots=True)
class Ready:
    ledger: Ledger
    pid: int
    since: float


@dataclass(frozen=True, slots=True)
class Unresponsive:
    """It was ready and does not answer. `since` is when it became ready, `limit_at` ends all patience."""

    ledger: Ledger
    pid: int
    since: float
    restart_at: float
    limit_at: float


@dataclass(frozen=True, slots=True)
class Ending:
    """It is being ended to be started again; `crashed` ones wait for their turn."""

    ledger: Ledger
    pid: int
    why: str
    crashed: bool
    kill_at: float


@dataclass(frozen=True, slots=True)
class BackingOff:
    ledger: Ledger
    why: str
    until: float


@dataclass(frozen=True, slots=True)
class Failed:
    """It gave up, until files change or somebody asks."""

    ledger: Ledger
    why: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """`pid` is None while a launch is being abandoned. `kill_at` is None once the group was killed."""

    ledger: Ledger
    pid: int | None
    kill_at: float | None
    give_up_at: float


@dataclass(frozen=True, slots=True)
class Stopped:
    ledger: Ledger


State = Waiting | Launching | Starting | Ready | Unresponsive | Ending | BackingOff | Failed | Stopping | Stopped
Serving = Starting | Ready | Unresponsive
Idle = Waiting | BackingOff | Failed


@dataclass(frozen=True, slots=True)
class Checked:
    """What is missing was looked up again; None: nothing."""

    missing: str | None


@dataclass(frozen=True, slots=True)
class Spawned:
    pid: int


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """There is no process: its program is missing, a stranger holds the port (`outside`), or the launch was
    abandoned.
    """

    why: str
    chance: float
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Exited:
    """The leader ended, and nothing that it started is left. `words`: the end of its standard error. `outside`: what
    ended it is nothing that a change of the app's files could mend.
    """

    why: str
    chance: float
    words: str = ""
    outside: bool = False

    @property
    def error(self) -> ErrorLine | None:
        """The error that `words` name."""
        return find(self.words.splitlines())

    @property
    def reason(self) -> str:
        """One line: the error first, because how a process exited says nothing about why."""
        return self.why if self.error is None else f"{self.error.headline}; {self.why}"

    @property
    def report(self) -> str:
        """The reason, what mends it, and the lines that belong to the error."""
        error = self.error
        further = () if error is None else (error.advice, *error.details)
        return "\n".join([self.reason, *(line for line in further if line)])


@dataclass(frozen=True, slots=True)
class Answered:
    """The probe of its state came back: a page while starting, a sign of life later."""


@dataclass(frozen=True, slots=True)
class Silent:
    """It did not. `busy`: it compiles, or its processes use the CPU."""

    busy: bool


@dataclass(frozen=True, slots=True)
class FilesChanged:
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class RestartAsked:
    why: str


@dataclass(frozen=True, slots=True)
class RepairAsked:
    """A repair is due that needs the process to be gone. Its bounds are those of repairs, so no crash is forgiven."""

    why: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    pass


@dataclass(frozen=True, slots=True)
class Tick:
    """The state's deadline may have come."""


Event = (
    Checked
    | Spawned
    | LaunchFailed
    | Exited
    | Answered
    | Silent
    | FilesChanged
    | RestartAsked
    | RepairAsked
    | StopAsked
    | Tick
)


class Effect(Enum):
    CHECK = auto()  # look what is missing; ends in Checked
    LAUNCH = auto()  # ends in Spawned, LaunchFailed or a Checked that names what is missing
    MEND = auto()  # do the repairs that are due; a launch does so by itself
    ABANDON = auto()  # cut a launch short; it still ends in one of its events
    TERMINATE = auto()  # SIGTERM to the leader
    KILL = auto()  # SIGKILL to the whole group


Step = tuple[State, tuple[Effect, ...]]


def first(now: float) -> Waiting:
    return Waiting(Ledger(), "not started yet", check_at=now)


def deadline(state: State) -> float | None:
    """When the next Tick is due; None: only an event moves this state."""
    match state:
        case Waiting():
            return state.check_at
        case Starting():
            return state.answer_by
        case Unresponsive():
            return state.restart_at
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
