"""How long to wait before a folder that was just deleted is created again. Pure.

Turbopack loses a folder that is deleted and created again within one batch of its file watcher: measured on Next 16.4,
every route in it then answers 404 until the server is restarted. A quarter of a second in between was enough.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

SETTLE_SECONDS = 0.5
"""Twice the time that was enough: a busy machine's watcher is late."""


@dataclass(frozen=True, slots=True)
class DeletedFolders:
    """The folders that were deleted within the last SETTLE_SECONDS, with the time of each on the monotonic clock."""

    deleted_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def after(self, deleted: Iterable[str], left: Collection[str], now: float) -> DeletedFolders:
        """The folders known after a set that deleted the files `deleted`. `left`: the paths of all files there now."""
        recent = {path: at for path, at in self.deleted_at.items() if now - at < SETTLE_SECONDS}
        gone = {folder for path in deleted for folder in _folders_above(path)}
        if gone:
            gone -= {folder for path in left for folder in _folders_above(path)}
        return DeletedFolders(recent | dict.fromkeys(gone, now))

    def pause(self, written: Iterable[str], now: float) -> float:
        """Seconds to wait before the files `written` are moved in; 0.0 where no deleted folder comes back."""
        if not self.deleted_at:
            return 0.0
        back = {folder for path in written for folder in _folders_above(path)} & self.deleted_at.keys()
        last = max((self.deleted_at[folder] for folder in back), default=-math.inf)
        return max(0.0, last + SETTLE_SECONDS - now)


def _folders_above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
