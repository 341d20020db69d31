"""Which set of files of an app is current, as a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """Which set is current. A delta can start at any revision from `floor` on."""

    epoch: str
    revision: int
    floor: int

    @property
    def tag(self) -> str:
        """The set's ETag. It names the set, not its bytes: JSON, NDJSON and gzip of one set share it (Vary keeps caches
        apart, and no part of the answer can be asked for by range).
        """
        return f'"{self.epoch}-{self.revision}"'
