"""Detects that Next missed a change of next.config, from the lines it logs. Pure.

Next restarts itself when next.config changes, but it starts to watch the file only after it has read it. A change in
between (the second of two edits, on a busy machine) is never noticed, and the app runs with the old configuration. A
version of Next that does not log when it reads the file is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

UNSEEN_SECONDS: Final = 10.0
"""Next notices a change within half a second; on a core that is busy with a large compilation it takes longer."""
AHEAD_SECONDS: Final = 0.5
"""Next may see a change this long before the agent notes it."""

_NOTICED: Final = re.compile(r"Found a change in next\.config")
_READ: Final = re.compile(r"Running next\.config\S{0,20} took (?P<amount>[\d.]{1,10})(?P<unit>ms|s|min)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0}


@dataclass(frozen=True, slots=True)
class ConfigWatch:
    """Of one process. Monotonic seconds."""

    changed_at: float | None = None
    read_at: float | None = None
    """When Next last began to read the file."""
    noticed_at: float | None = None

    def changed(self, now: float) -> ConfigWatch:
        return replace(self, changed_at=now)

    def after_line(self, line: str, now: float) -> ConfigWatch:
        if _NOTICED.search(line):
            return replace(self, noticed_at=now)
        read = _READ.search(line)
        if read is None:
            return self
        try:
            return replace(self, read_at=now - float(read["amount"]) * _SECONDS[read["unit"]])
        except ValueError:  # "1.2.3": not logged by Next
            return self

    def is_unseen(self, now: float) -> bool:
        """Whether the file changed UNSEEN_SECONDS ago or more, and Next has neither noticed nor read it since."""
        changed, noticed = self.changed_at, self.noticed_at
        if changed is None or self.read_at is None or self.read_at > changed:
            return False
        return (noticed is None or noticed < changed - AHEAD_SECONDS) and now - changed >= UNSEEN_SECONDS
