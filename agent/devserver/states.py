"""The words of the dev server's life: its states, what may happen to it, what may be asked for, and how long. Pure.

A state holds its own data and its own deadline. Times are seconds of the monotonic clock. `lifecycle` has the table
that moves from one state to the next; nothing here decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, assert_never

from agent.devserver.file_rules import Meaning
from agent.error_line import ErrorLine, find

START_SECONDS: Final = 180.0  # the first page of a heavy app on a small shared CPU; measured: 6 to 19 s on two cores
STALLED_SECONDS: Final = 20.0
"""A starting server that neither answers nor uses the CPU waits for something that does not come. Measured on 16.4: the
longest such pause of a start that succeeds is under 2 s.
"""
FATAL_SECONDS: Final = 3.0  # the same for a server that has said that it gave up
HUNG_SECONDS: Final = 30.0
BUSY_SECONDS: Final = 300.0  # a silent server that works is compiling; one that works for this long is spinning
SEEN_SECONDS: Final = 8.0  # how long a server may be silent before it is seen: the pause of the probes, and one probe
LOOP_SECONDS: Final = 30.0 - SEEN_SECONDS
"""How long a server may spin (use a core, compile nothing, answer nothing) once that is seen."""
FIRST_LOOP_SECONDS: Final = 60.0  # the first page also has the app's modules evaluated, which takes a small CPU long
MENDED_SECONDS: Final = 3.0  # the same after a change of files: Next cannot read the change while it spins
GRACE_SECONDS: Final = 1.0  # SIGTERM to SIGKILL; measured: Next needs 0.1 to 0.5 s
KILLED_SECONDS: Final = 0.5  # what the kernel gets to clear away a killed group before a stop goes on without it
CHECK_SECONDS: Final = 1.0
BACK_OFF_BASE: Final = 1.0
BACK_OFF_CAP: Final = 60.0
CRASHES_ALLOWED: Final = 5
CRASH_WINDOW: Final = 600.0
KNOWN_ALLOWED: Final = 2
"""How often in a row the server may end with one and the same error of the app's configuration. Once more is a try that
costs a second or two, for an error that came from the network; after that only a change of files can help.
"""
STEADY_SECONDS: Final = BACK_OFF_CAP
"""Ready for this long, and the next pause is a short one again. As long as the longest pause: a server that fails
sooner spends most of its time down, so its failures are one story; one that ran for longer failed for a new reason.
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is remembered across states. `streak`: crashes in a row. `trouble`: the last crash, until ready again.
    `known`: how many crashes in a row had this very trouble, and it is one that stands in the app's files.
    `error`: what will end the next process too, until somebody changed something that may mend it.
    """

    starts: int = 0
    crashes: int = 0
    recent: tuple[float, ...] = ()
    streak: int = 0
    trouble: str | None = None
    known: int = 0
    error: ErrorLine | None = None

    def crashed(
        self,
        now: float,
        why: str,
        ready_since: float | None,
        *,
        known: bool = False,
        error: ErrorLine | None = None,
    ) -> Ledger:
        # A server that had answered may well come up again, unless it is its configuration that fails.
        again = error is not None and (ready_since is None or ".config." in (error.place or ""))
        steady = ready_since is not None and now - ready_since >= STEADY_SECONDS
        return replace(
            self,
            crashes=self.crashes + 1,
            recent=(*(at for at in self.recent if now - at < CRASH_WINDOW), now),
            streak=1 if steady else self.streak + 1,
            trouble=why,
            known=(self.known + 1 if why == self.trouble else 1) if known else 0,
            error=error if again else None,
        )

    def hindered(self, why: str) -> Ledger:
        """It could not run, for a reason outside of the app: that waits its turn, and is no crash of the app's."""
        return replace(self, streak=self.streak + 1, trouble=why, error=None)

    def forgiven(self) -> Ledger:
        """A new budget: somebody mended something, or asked."""
        return replace(self, recent=(), streak=0, known=0, error=None)


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
    """`quiet_since`: it uses no CPU and has not shown a page. `fatal`: it said this, after which Next never answers.
    `spinning_since` and `route`: as of Unresponsive.
    """

    ledger: Ledger
    pid: int
    answer_by: float
    quiet_since: float | None = None
    fatal: str | None = None
    spinning_since: float | None = None
    route: str | None = None

    @property
    def stalled_at(self) -> float | None:
        if self.quiet_since is None:
            return None
        return self.quiet_since + (STALLED_SECONDS if self.fatal is None else FATAL_SECONDS)

    @property
    def looped_at(self) -> float | None:
        return None if self.spinning_since is None else self.spinning_since + FIRST_LOOP_SECONDS


@dataclass(frozen=True, slots=True)
class Ready:
    ledger: Ledger
    pid: int
    since: float
    changed: bool = False
    """Files changed since it last answered."""


@dataclass(frozen=True, slots=True)
class Unresponsive:
    """It was ready and does not answer. `since` is when it became ready, `limit_at` ends all patience.

    `spinning_since`: it uses a core and compiles nothing. `route`: the page that most likely keeps it busy. `changed`:
    files changed since it last answered.
    """

    ledger: Ledger
    pid: int
    since: float
    restart_at: float
    limit_at: float
    changed: bool = False
    spinning_since: float | None = None
    route: str | None = None

    @property
    def looped_at(self) -> float | None:
        if self.spinning_since is None:
            return None
        return self.spinning_since + (MENDED_SECONDS if self.changed else LOOP_SECONDS)


@dataclass(frozen=True, slots=True)
class Ending:
    """It is being ended to be started again; `crashed` ones wait for their turn. `route`: the page that kept it busy,
    which nobody gets from the next process until files change.
    """

    ledger: Ledger
    pid: int
    why: str
    crashed: bool
    kill_at: float
    route: str | None = None


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
    ended it is nothing that a change of the app's files could mend. `known`: it is an error in the app's configuration,
    so that nothing but such a change can.
    """

    why: str
    chance: float
    words: str = ""
    outside: bool = False
    known: bool = False

    @property
    def error(self) -> ErrorLine | None:
        """The error that `words` name."""
        return find(self.words.splitlines())

    @property
    def reason(self) -> str:
        """One line: the error first, because how a process exited says nothing about why; a known reason names it."""
        return self.why if self.error is None or self.known else f"{self.error.headline}; {self.why}"

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
    """It did not. `busy`: it compiles, or its processes use the CPU. `spinning`: they use a core, and it is known that
    nothing compiles. `route`: the page that most likely does it.
    """

    busy: bool
    spinning: bool = False
    route: str | None = None


@dataclass(frozen=True, slots=True)
class Listening:
    """There is a sign of life of a server whose first page has not come. `busy`: as of Silent."""

    busy: bool


@dataclass(frozen=True, slots=True)
class FatalSaid:
    """It said something after which Next has been seen never to answer. The app's own code can say it as well."""

    why: str


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """A set is on disk. `why`: for people, where its meaning is a restart."""

    meaning: Meaning
    why: str = ""


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
    | Listening
    | FatalSaid
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
            return min(at for at in (state.answer_by, state.stalled_at, state.looped_at) if at is not None)
        case Unresponsive():
            return state.restart_at if state.looped_at is None else min(state.restart_at, state.looped_at)
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
