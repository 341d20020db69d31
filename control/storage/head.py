"""The identity of an app's current set of files, as a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetHead:
    epoch: str
    """Random per database, so that tags of a recreated database never equal old ones."""
    revision: int
    floor: int
    """The oldest revision that a delta can start at."""

    @property
    def tag(self) -> str:
        """The ETag of the set. JSON, NDJSON and gzip of one set share it: Vary separates them in caches, and ranges of
        the answer are not served.
        """
        return f'"{self.epoch}-{self.revision}"'
