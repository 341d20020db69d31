"""What the packages ask of a sync: the words that lie between the room that moves files and the one that installs.

A set that changes package.json goes in two halves, with an installation before or after the sources, so that no import
is ever without its package. The sync knows when, and asks nothing about how.

What must not live here: any decision about packages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

Job = Callable[[], Awaitable[None]]


def _nothing(_: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Errand:
    """`ahead`: to be awaited when every path that it `needs` is in place, and before any other is. `behind`: to be
    awaited when all are. Neither raises for an installation that failed: the files are the truth all the same.
    """

    needs: Callable[[str], bool] = _nothing
    ahead: Job | None = None
    behind: Job | None = None


class Packages(Protocol):
    """Only for one caller at a time."""

    def concerns(self, path: str) -> bool:
        """Whether the bytes of this file have to be known for an errand."""
        ...

    async def settle(self, managed: AbstractSet[str]) -> None:
        """Once, before the first set: install what an earlier life left undone. `managed`: the app's own files."""
        ...

    def errand(
        self, changed: Mapping[str, bytes | None], managed: AbstractSet[str]
    ) -> AbstractAsyncContextManager[Errand]:
        """What a set asks for that changes these files (None: deletes), and after which the app has `managed`. Enter it
        before the first file is moved, and leave it after the last job, or when there will be none.
        """
        ...


class NoPackages:
    """For who has none to install."""

    def concerns(self, path: str) -> bool:
        return False

    async def settle(self, managed: AbstractSet[str]) -> None:
        return

    @asynccontextmanager
    async def errand(self, changed: Mapping[str, bytes | None], managed: AbstractSet[str]) -> AsyncIterator[Errand]:
        yield Errand()
