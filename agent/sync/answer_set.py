"""The entries of one answer, taken in one by one: what the backend wants, and what of it is refused and why.

Pure bookkeeping. A path that may not be written, a file over its limit and a path named twice are refused alone; a
limit of the whole set refuses the answer (contract, section 5). Contents do not come here: an entry is its path, its
hash and its size.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import BadAnswer
from agent.paths import MAX_FILE_BYTES, MAX_FILES, MAX_SET_BYTES, overlapping, refusal


@dataclass(frozen=True, slots=True)
class Wanted:
    sha256: str
    size: int


class Gathered:
    """`files`: path → what it shall hold. `deleted`: paths a delta takes away. `refused`: path → why, the end of a
    sentence. No path stands in two of them.
    """

    def __init__(self) -> None:
        self.files: dict[str, Wanted] = {}
        self.deleted: set[str] = set()
        self.refused: dict[str, str] = {}
        self._bytes = 0

    def add(self, path: str, sha256: str, size: int) -> bool:
        """Take in a file; whether its bytes are of use. Raises BadAnswer when the set outgrows its limits."""
        why = refusal(path)
        if why is None and size > MAX_FILE_BYTES:
            why = f"has {size:,} bytes, more than {MAX_FILE_BYTES:,}"
        if why is None and path in self.refused:
            return False
        wanted = Wanted(sha256, size)
        if why is None and (path in self.deleted or self.files.get(path, wanted) != wanted):
            why = "is named twice, with different contents"
        if why is not None:
            self._refuse(path, why)
            return False
        if path not in self.files:
            self.files[path] = wanted
            self._bytes += size
            _check(len(self.files), self._bytes)
        return True

    def delete(self, path: str) -> None:
        """Take in a delta's deletion. One of a path that could never have been written is of no effect."""
        if path in self.files:
            self._refuse(path, "is named twice, as a file and as deleted")
        elif path not in self.refused:
            self.deleted.add(path)
            if len(self.deleted) > MAX_FILES:
                raise BadAnswer(f"the answer deletes more than {MAX_FILES:,} files")

    def refuse_overlaps(self, others: frozenset[str] = frozenset()) -> None:
        """Refuse every file that is a folder of another, or lies in one that is a file. `others`: the paths that are
        there besides, which stay as they are.
        """
        named = {path for path in self.refused if refusal(path) is None}
        if not named and self.files.keys() <= others:
            return  # what stands together already goes on doing so: a delta of a few edits is not worth a look at all
        for path in overlapping((self.files.keys() | named | others) - self.deleted):
            if path in self.files:
                self._refuse(path, "is a folder of another entry, or lies in one that is a file")

    def check_together(self, files: int, size: int) -> None:
        """Raise BadAnswer when a delta outgrows the limits of a set, with the files that it leaves as they are."""
        _check(files + len(self.files), size + self._bytes)

    def _refuse(self, path: str, why: str) -> None:
        self.refused[path] = why
        if len(self.refused) > MAX_FILES:
            raise BadAnswer(f"more than {MAX_FILES:,} entries of the answer have to be refused")
        self.deleted.discard(path)
        gone = self.files.pop(path, None)
        if gone is not None:
            self._bytes -= gone.size


def _check(files: int, size: int) -> None:
    if files > MAX_FILES:
        raise BadAnswer(f"the set has more than {MAX_FILES:,} files")
    if size > MAX_SET_BYTES:
        raise BadAnswer(f"the set has more than {MAX_SET_BYTES:,} bytes")
