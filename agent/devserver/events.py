"""What can happen to the dev server (events), and what a transition asks to be done (effects). Pure.

`lifecycle.TABLE` has a row for every pair of a state and an event. Chance comes with the event that needs it, so that
the table stays deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from agent.devserver.file_rules import Meaning
from agent.error_line import ErrorLine, find


@dataclass(frozen=True, slots=True)
class Checked:
    """The launcher checked again whether everything that the command needs is on disk."""

    missing: str | None
    """What is missing; None if nothing is."""


@dataclass(frozen=True, slots=True)
class Spawned:
    pid: int


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """No process was started: its program is missing, its port is taken, or the launch was cancelled."""

    why: str
    chance: float
    outside: bool = False
    """The cause is outside the app, so this is not a crash of it."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The leader and every process that it started are gone."""

    why: str
    chance: float
    stderr: str = ""
    """The end of its standard error."""
    outside: bool = False
    """The cause is outside the app: no change of its files would help."""
    config_error: bool = False
    """The cause is an error in the app's configuration: only a change of its files helps."""

    @property
    def error(self) -> ErrorLine | None:
        """The error that `stderr` names."""
        return find(self.stderr.splitlines())

    @property
    def reason(self) -> str:
        """One line. The error comes first, because an exit status does not explain anything; `why` has it already
        where the configuration is at fault.
        """
        return self.why if self.error is None or self.config_error else f"{self.error.headline}; {self.why}"

    @property
    def report(self) -> str:
        """The reason, what to do about it, and the lines that belong to the error."""
        error = self.error
        further = () if error is None else (error.advice, *error.details)
        return "\n".join([self.reason, *(line for line in further if line)])


@dataclass(frozen=True, slots=True)
class Answered:
    """The probe succeeded: the first page while Starting, the liveness probe later."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The probe got no answer."""

    busy: bool
    """It compiles, or its processes use the CPU."""
    spinning: bool = False
    """Its processes use a core, and it is known that nothing compiles."""
    route: str | None = None
    """The page that most likely keeps it busy."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The liveness probe succeeded, and the first page has not been answered."""

    busy: bool
    """As in Silent."""


@dataclass(frozen=True, slots=True)
class FatalLogged:
    """It logged an error after which Next never answers. The app's own code can print the same text."""

    why: str


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """A set of files was applied to the workspace."""

    meaning: Meaning
    why: str = ""
    """The reason shown to people, where the meaning is a restart."""


@dataclass(frozen=True, slots=True)
class RestartAsked:
    why: str


@dataclass(frozen=True, slots=True)
class RepairAsked:
    """A repair is due that needs the process gone. Repairs have limits of their own, so the crash budget is kept."""

    why: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    pass


@dataclass(frozen=True, slots=True)
class Tick:
    """The state's deadline may have passed."""


Event = (
    Checked
    | Spawned
    | LaunchFailed
    | Exited
    | Answered
    | Silent
    | Listening
    | FatalLogged
    | FilesChanged
    | RestartAsked
    | RepairAsked
    | StopAsked
    | Tick
)


class Effect(Enum):
    CHECK = auto()  # check what is missing; ends in Checked
    LAUNCH = auto()  # ends in Spawned, LaunchFailed or a Checked that names what is missing
    REPAIR = auto()  # do the repairs that are due; a launch does them by itself
    ABANDON = auto()  # cancel a launch; it still ends in one of its events
    TERMINATE = auto()  # SIGTERM to the leader
    KILL = auto()  # SIGKILL to the whole group
