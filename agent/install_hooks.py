"""The interface between sync and packages: hooks that install packages while a set is being moved into place.

A set that changes package.json is applied in two parts, with an install before or after the sources, so that no import
is ever without its package. The sync calls the hooks at the right moments and knows nothing about installing.

What must not live here: any decision about packages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

Job = Callable[[], Awaitable[None]]


def _never(_: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class InstallHooks:
    """The jobs of one set. A job does not raise when the install failed: the files are applied in any case."""

    needs: Callable[[str], bool] = _never
    """True for the paths that have to be in place before `before_sources`."""
    before_sources: Job | None = None
    """Awaited when the paths it `needs` are in place, before any other is."""
    after_files: Job | None = None
    """Awaited when all paths are in place."""


class Packages(Protocol):
    """Used by one task at a time."""

    def concerns(self, path: str) -> bool:
        """True if `install_hooks` needs the content of this file."""
        ...

    async def settle(self, managed: AbstractSet[str]) -> None:
        """Finish an install that an earlier run left. Called once, before the first set. `managed`: the app's files."""
        ...

    def install_hooks(
        self, changed: Mapping[str, bytes | None], managed: AbstractSet[str]
    ) -> AbstractAsyncContextManager[InstallHooks]:
        """The hooks for a set that changes these files (None: deletes them), after which the app has the files
        `managed`. Enter before the first file is moved, leave after the last job, or when there will be none.
        """
        ...
