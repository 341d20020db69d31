"""Whether the dev server may be started: not before the first files are there, and not during an installation. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StartGate:
    held: str | None = None
    """Why the package installer keeps the dev server from being started."""
    expecting: bool = False
    """The first set of files is on its way. Until then the workspace holds only the template."""
    synced: bool = False
    """A set of files was applied."""

    def files_arrived(self) -> None:
        self.synced, self.expecting = True, False

    @property
    def closed(self) -> str | None:
        """Why nothing may be started now; None if it may."""
        return self.held or ("the app's files are on their way" if self.expecting else None)
