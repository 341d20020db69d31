"""Whether the dev server has read the last change of its configuration. Pure.

Next restarts itself when next.config changes, but it begins to watch the file only after it has read it: a change that
comes in between (the second of two edits, on a busy machine) is never noticed, and the app runs with what the file said
before. Both of its lines are heard here; a Next that does not say when it read the file is left to itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

UNSEEN_SECONDS: Final = 10.0
"""It notices within half a second; on a core that is busy with a large compilation it takes its time."""
AHEAD_SECONDS: Final = 0.5
"""Next may see a file before we are told that it was written."""

_NOTICED: Final = re.compile(r"Found a change in next\.config")
_READ: Final = re.compile(r"Running next\.config\S{0,20} took (?P<amount>[\d.]{1,10})(?P<unit>ms|s|min)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0}


@dataclass(frozen=True, slots=True)
class Configuration:
    """Of one process; monotonic seconds. `read_at`: when it last began to read the file."""

    changed_at: float | None = None
    read_at: float | None = None
    noticed_at: float | None = None

    def changed(self, now: float) -> Configuration:
        return replace(self, changed_at=now)

    def heard(self, line: str, now: float) -> Configuration:
        if _NOTICED.search(line):
            return replace(self, noticed_at=now)
        read = _READ.search(line)
        if read is None:
            return self
        try:
            return replace(self, read_at=now - float(read["amount"]) * _SECONDS[read["unit"]])
        except ValueError:  # "1.2.3": not Next's own line
            return self

    def unseen(self, now: float) -> bool:
        """The file is another than the one that was read, and that has been so for too long."""
        changed, noticed = self.changed_at, self.noticed_at
        if changed is None or self.read_at is None or self.read_at > changed:
            return False
        return (noticed is None or noticed < changed - AHEAD_SECONDS) and now - changed >= UNSEEN_SECONDS
