"""A package manager's output while it runs, and the form in which the cause of a failure is reported. Pure.

causes.py finds that cause; it is imported only after a failure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.packages.toolchain import Manager

MESSAGE_CHARACTERS: Final = 2000
_PROGRESS_CHARACTERS: Final = 120

_FETCHED = re.compile(r"npm http (?:fetch|cache) ")
_UNPACK_ERROR = re.compile(r"npm warn tar TAR_ENTRY_ERROR (?P<error>.+)")


class OutputReader:
    """Reads the output of one run.

    `progress`: the newest progress in a few words. `unpack_error`: what npm could not write; npm exits with success
    all the same.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._fetched = 0
        self.progress = ""
        self.unpack_error: str | None = None

    def read_line(self, line: str) -> bool:
        """Read one line; True if it belongs in the log."""
        if self._manager == "npm" and (found := _UNPACK_ERROR.match(line)):
            self.unpack_error = self.unpack_error or found["error"][:MESSAGE_CHARACTERS]
        if _FETCHED.match(line):
            self._fetched += 1
            self.progress = f"{self._fetched} fetched"
            return False
        if line.strip() and not line.startswith("npm warn"):
            self.progress = line.strip()[:_PROGRESS_CHARACTERS]
        return True


@dataclass(frozen=True, slots=True)
class FailureCause:
    """Why a run failed."""

    message: str
    """The lines that matter."""
    code: str | None = None
    """The manager's own error code."""
    script: bool = False
    """A script of a package or of the app failed."""
    conflicts: tuple[str, ...] = ()
    """The packages whose peer dependencies conflict, as npm names them."""
    file: str | None = None
    """The file of the app that could not be parsed, with the place of the error."""
    line: int | None = None
    column: int | None = None


def disk_was_full(failure: str) -> bool:
    """Whether a run failed because the disk was full, by its message. Free space measured afterwards would not tell:
    what the run wrote may have been removed again.
    """
    return "ENOSPC" in failure or "no space left on device" in failure.casefold()
