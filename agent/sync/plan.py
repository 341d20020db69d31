"""Turns (files on disk, files the backend wants) into ordered operations, or a reason to hold the answer back.

Pure: no clock, no disk, no network. Two decisions are made here and nowhere else:

1. `plan`: which operations, in which order: folders, new files, changed files, configuration files, deletions. New
   files go before changed ones, so that a changed module finds the new modules it imports, and configuration files go
   after all sources, so that a restart finds them in place (next.md, 3). A file that blocks the path of a new one is
   deleted first. After any prefix of the operations each file is either the old or the new version.
2. `hold_back`: whether an answer looks as if the backend could not read its files, for example because it lost its
   permissions, and must not be applied yet (contract, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from agent.paths import folders_of, is_config
from agent.sync.answer_set import AnswerSet

MASS_DELETION_OF = 10
"""With fewer managed files than this, every deletion is applied at once, except that of all files."""
CONFIRM_TIMES = 3
"""The number of consecutive answers that must contain a mass deletion before it is applied."""
CONFIRM_SECONDS = 10.0
"""The least time between the first and the last of those answers."""


@dataclass(frozen=True, slots=True)
class Folder:
    path: str


@dataclass(frozen=True, slots=True)
class Put:
    path: str
    sha256: str
    size: int
    template: bool = False
    """The file comes from the template and not from the backend's set."""


@dataclass(frozen=True, slots=True)
class Remove:
    path: str


Operation = Folder | Put | Remove

ManagedHashes = Mapping[str, str]
"""Managed files: path → sha256 of the bytes that the agent last wrote."""


def plan(
    known: ManagedHashes, answer_set: AnswerSet, *, delta: bool, stale: AbstractSet[str] = frozenset()
) -> tuple[Operation, ...]:
    """The operations that turn the `known` files into the answer's. Refused paths are left as they are.

    `stale`: managed paths whose bytes on disk are no longer those in `known`; they are written again.
    """
    removed = removals(known, answer_set, delta=delta)
    puts = [
        Put(path, wanted.sha256, wanted.size)
        for path, wanted in sorted(answer_set.files.items())
        if known.get(path) != wanted.sha256 or path in stale
    ]
    arriving = {put.path for put in puts}
    folders_needed = {folder for put in puts if put.path not in known for folder in folders_of(put.path)}
    in_the_way = {
        path for path in removed if path in folders_needed or any(folder in arriving for folder in folders_of(path))
    }
    return (
        *(Remove(path) for path in sorted(in_the_way)),
        *(Folder(path) for path in sorted(folders_needed)),  # creating a folder that exists does nothing
        *(put for put in puts if put.path not in known and not is_config(put.path)),
        *(put for put in puts if put.path in known and not is_config(put.path)),
        *(put for put in puts if is_config(put.path)),
        *(Remove(path) for path in sorted(removed - in_the_way)),
    )


def with_template(
    operations: tuple[Operation, ...], *, placed: AbstractSet[str], wanted: Mapping[str, Put]
) -> tuple[Operation, ...]:
    """`operations`, with those added that write the template's `wanted` files and delete its other `placed` ones.

    `placed`: the paths where template files are now. `wanted`: the paths where they shall be, each with its Put.
    Deletions that make way for a new file come first, all others last.
    """
    new = {path: put for path, put in wanted.items() if path not in placed}
    arriving = {operation.path for operation in operations if isinstance(operation, Put)} | new.keys()
    folders = {folder for path in arriving for folder in folders_of(path)}
    gone = [operation for operation in operations if isinstance(operation, Remove) and operation.path not in new]
    gone += [Remove(path) for path in sorted(placed - wanted.keys() - arriving)]

    def is_in_the_way(operation: Operation) -> bool:
        return operation.path in folders or any(folder in arriving for folder in folders_of(operation.path))

    return (
        *(operation for operation in gone if is_in_the_way(operation)),
        *(operation for operation in operations if not isinstance(operation, Remove)),
        *(Folder(folder) for folder in sorted({folder for path in new for folder in folders_of(path)})),
        *(put for _, put in sorted(new.items())),
        *(operation for operation in gone if not is_in_the_way(operation)),
    )


def split_for_install(
    operations: tuple[Operation, ...], needs: Callable[[str], bool]
) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """Split the operations in two: those on files that an installation reads (`needs(path)` is true), with the folders
    and deletions that they depend on, and all others.
    """
    puts = {operation.path for operation in operations if isinstance(operation, Put) and needs(operation.path)}
    above = {folder for path in puts for folder in folders_of(path)}

    def is_early(operation: Operation) -> bool:
        path = operation.path
        if isinstance(operation, Remove) and (needs(path) or any(folder in puts for folder in folders_of(path))):
            return True
        return path in puts or path in above

    ahead = tuple(operation for operation in operations if is_early(operation))
    return ahead, tuple(operation for operation in operations if not is_early(operation))


def removals(known: ManagedHashes, answer_set: AnswerSet, *, delta: bool) -> frozenset[str]:
    """The managed files that the answer deletes: those a delta names, or those a whole set no longer contains."""
    if delta:
        return frozenset(known.keys() & answer_set.deleted)
    return frozenset(known.keys() - answer_set.files.keys() - answer_set.refused.keys())


@dataclass(frozen=True, slots=True)
class MassDeletion:
    """A mass deletion that is being held back."""

    removed: frozenset[str]
    times: int
    """Consecutive answers that contained it."""
    since: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The answer must not be applied yet."""

    reason: str
    pending: MassDeletion | None
    """To be passed to the next call."""


def hold_back(
    known: ManagedHashes,
    answer_set: AnswerSet,
    *,
    revision: int | None,
    last_revision: int | None,
    pending: MassDeletion | None,
    now: float,
) -> HeldBack | None:
    """Why a whole set must not be applied yet, or None. Deltas name their deletions and need no such check.

    `revision` is the answer's, `last_revision` that of the set on disk: if it is higher, the backend has
    really read its store. `pending` is the result of the call before.
    """
    if not known or (revision is not None and revision > (last_revision or 0)):
        return None
    if not answer_set.files:
        return HeldBack(
            f"The backend returned no files, but {len(known)} are on disk. That usually means lost permissions, so"
            " nothing was deleted. Check API_KEY. If the app is meant to be empty, send the answer with a higher"
            " Preview-Revision",
            None,
        )
    removed = removals(known, answer_set, delta=False)
    if len(known) < MASS_DELETION_OF or len(removed) * 2 <= len(known):
        return None
    again = pending is not None and pending.removed == removed
    times, since = (pending.times + 1, pending.since) if pending is not None and again else (1, now)
    if times >= CONFIRM_TIMES and now - since >= CONFIRM_SECONDS:
        return None
    return HeldBack(
        f"The backend's set would delete {len(removed)} of {len(known)} files. It is applied after {CONFIRM_TIMES}"
        f" equal answers over at least {CONFIRM_SECONDS:.0f} s ({times} so far)",
        MassDeletion(removed, times, since),
    )
