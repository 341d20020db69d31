"""Collects the entries of one answer: the files the backend wants, and the refused ones with the reason.

Pure. A forbidden path, a file over the size limit and a path named twice are refused individually; exceeding a limit
of the whole set refuses the answer (contract, section 5). File contents must not live here: an entry is a path, a hash
and a size.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import BadAnswer
from agent.paths import MAX_FILE_BYTES, MAX_FILES, MAX_SET_BYTES, overlapping, refusal


@dataclass(frozen=True, slots=True)
class FileDigest:
    sha256: str
    size: int


class AnswerSet:
    """The entries of one answer. No path is in two of `files`, `deleted` and `refused`."""

    def __init__(self) -> None:
        self.files: dict[str, FileDigest] = {}
        self.deleted: set[str] = set()
        """Paths that a delta deletes."""
        self.refused: dict[str, str] = {}
        """Path → the reason, as the end of a sentence that begins with the path."""
        self._bytes = 0

    def add(self, path: str, sha256: str, size: int) -> bool:
        """Add a file. Returns whether its bytes are needed. Raises BadAnswer when the set exceeds its limits."""
        why = refusal(path)
        if why is None and size > MAX_FILE_BYTES:
            why = f"has {size:,} bytes, more than {MAX_FILE_BYTES:,}"
        if why is None and path in self.refused:
            return False
        wanted = FileDigest(sha256, size)
        if why is None and (path in self.deleted or self.files.get(path, wanted) != wanted):
            why = "is named twice, with different contents"
        if why is not None:
            self._refuse(path, why)
            return False
        if path not in self.files:
            self.files[path] = wanted
            self._bytes += size
            _check_limits(len(self.files), self._bytes)
        return True

    def delete(self, path: str) -> None:
        """Add a deletion of a delta. Deleting a path that was never written has no effect."""
        if path in self.files:
            self._refuse(path, "is named twice, as a file and as deleted")
        elif path not in self.refused:
            self.deleted.add(path)
            if len(self.deleted) > MAX_FILES:
                raise BadAnswer(f"the answer deletes more than {MAX_FILES:,} files")

    def refuse_overlaps(self, others: frozenset[str] = frozenset()) -> None:
        """Refuse every file whose path is a folder of another entry, or lies below one. `others`: the paths that the
        answer leaves as they are.
        """
        named = {path for path in self.refused if refusal(path) is None}
        if not named and self.files.keys() <= others:
            return  # no new path, so no new overlap: a small delta need not be compared with every file
        for path in overlapping((self.files.keys() | named | others) - self.deleted):
            if path in self.files:
                self._refuse(path, "is a folder of another entry, or lies in one that is a file")

    def check_limits(self, files: int, size: int) -> None:
        """Raise BadAnswer if a delta together with the `files` it leaves (of `size` bytes) exceeds a set's limits."""
        _check_limits(files + len(self.files), size + self._bytes)

    def _refuse(self, path: str, why: str) -> None:
        self.refused[path] = why
        if len(self.refused) > MAX_FILES:
            raise BadAnswer(f"more than {MAX_FILES:,} entries of the answer have to be refused")
        self.deleted.discard(path)
        gone = self.files.pop(path, None)
        if gone is not None:
            self._bytes -= gone.size


def _check_limits(files: int, size: int) -> None:
    if files > MAX_FILES:
        raise BadAnswer(f"the set has more than {MAX_FILES:,} files")
    if size > MAX_SET_BYTES:
        raise BadAnswer(f"the set has more than {MAX_SET_BYTES:,} bytes")
