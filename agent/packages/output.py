"""What a package manager's output says while it runs, and what is known of a failure. Pure.

Why a run failed is read by causes.py, which only a failure brings into memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.packages.toolchain import Manager

MESSAGE_CHARACTERS: Final = 2000
_PROGRESS_CHARACTERS: Final = 120

_FETCHED = re.compile(r"npm http (?:fetch|cache) ")
_SPOILED = re.compile(r"npm warn tar TAR_ENTRY_ERROR (?P<why>.+)")


class Reading:
    """One run's output. `progress`: how far it is, in a few words. `spoiled`: what npm could not write, which it takes
    for a success all the same.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._fetched = 0
        self.progress = ""
        self.spoiled: str | None = None

    def hear(self, line: str) -> bool:
        """Whether people should see it."""
        if self._manager == "npm" and (found := _SPOILED.match(line)):
            self.spoiled = self.spoiled or found["why"][:MESSAGE_CHARACTERS]
        if _FETCHED.match(line):
            self._fetched += 1
            self.progress = f"{self._fetched} fetched"
            return False
        if line.strip() and not line.startswith("npm warn"):
            self.progress = line.strip()[:_PROGRESS_CHARACTERS]
        return True


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run failed. `message`: the lines that matter. `code`: the manager's own name of the error.

    `script`: a script of a package or of the app failed. `conflicts`: the packages whose peer dependencies contradict
    each other, as npm names them. `file`, `line`, `column`: the place in a file of the app that could not be read.
    """

    message: str
    code: str | None = None
    script: bool = False
    conflicts: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None
    column: int | None = None


def disk_was_full(why: str) -> bool:
    """Whether a run failed for that, by its own words. What it had written may be gone again when somebody looks."""
    return "ENOSPC" in why or "no space left on device" in why.casefold()
