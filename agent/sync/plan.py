"""(what is on disk, what the backend wants) → ordered operations, or a reason to hold the answer back.

Pure: no clock, no disk, no network. Two decisions live here and nowhere else:

1. `plan`: which operations, in which order. Folders, new files, changed files, configuration files, deletions: an
   importer never comes before what it imports, and a restart that a configuration file causes finds everything in
   place (facts: next.md, 3). Only what stands in the way of a new file goes first. Every prefix of the operations
   leaves each file either old or new.
2. `hold`: whether an answer looks like a backend that lost its permissions, and must not be obeyed yet (contract,
   section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from agent.paths import folders_of, is_config
from agent.sync.answer_set import Gathered

MASS_DELETION_OF = 10
SAID_TIMES = 3
SAID_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Folder:
    path: str


@dataclass(frozen=True, slots=True)
class Put:
    """`template`: the file is the template's and not one of the set."""

    path: str
    sha256: str
    size: int
    template: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    path: str


Operation = Folder | Put | Remove

Known = Mapping[str, str]
"""Managed files: path → the hash that the agent last wrote."""


def plan(
    known: Known, gathered: Gathered, *, delta: bool, stale: AbstractSet[str] = frozenset()
) -> tuple[Operation, ...]:
    """What turns `known` into what the backend wants. What was refused stays as it is.

    `stale`: managed paths whose bytes on the disk are no longer those that `known` says; they are written again.
    """
    removed = removals(known, gathered, delta=delta)
    puts = [
        Put(path, wanted.sha256, wanted.size)
        for path, wanted in sorted(gathered.files.items())
        if known.get(path) != wanted.sha256 or path in stale
    ]
    arriving = {put.path for put in puts}
    folders_needed = {folder for put in puts if put.path not in known for folder in folders_of(put.path)}
    in_the_way = {
        path for path in removed if path in folders_needed or any(folder in arriving for folder in folders_of(path))
    }
    return (
        *(Remove(path) for path in sorted(in_the_way)),
        *(Folder(path) for path in sorted(folders_needed)),  # one that stands is left alone
        *(put for put in puts if put.path not in known and not is_config(put.path)),
        *(put for put in puts if put.path in known and not is_config(put.path)),
        *(put for put in puts if is_config(put.path)),
        *(Remove(path) for path in sorted(removed - in_the_way)),
    )


def with_template(
    operations: tuple[Operation, ...], *, placed: AbstractSet[str], wanted: Mapping[str, Put]
) -> tuple[Operation, ...]:
    """`operations` of a set, and those that leave the template's files as they are to stand beside it.

    `placed`: where they stand now, `wanted`: where they are to stand, each with its put. What is in the way of a new
    file goes first, all other deletions come last.
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


def halves(
    operations: tuple[Operation, ...], needs: Callable[[str], bool]
) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """The operations on the paths that something `needs` at once, with what has to come before them; and the rest."""
    puts = {operation.path for operation in operations if isinstance(operation, Put) and needs(operation.path)}
    above = {folder for path in puts for folder in folders_of(path)}

    def is_early(operation: Operation) -> bool:
        path = operation.path
        if isinstance(operation, Remove) and (needs(path) or any(folder in puts for folder in folders_of(path))):
            return True
        return path in puts or path in above

    ahead = tuple(operation for operation in operations if is_early(operation))
    return ahead, tuple(operation for operation in operations if not is_early(operation))


def removals(known: Known, gathered: Gathered, *, delta: bool) -> frozenset[str]:
    """The managed files that the answer takes away: those a delta names, or those a whole set no longer has."""
    if delta:
        return frozenset(known.keys() & gathered.deleted)
    return frozenset(known.keys() - gathered.files.keys() - gathered.refused.keys())


@dataclass(frozen=True, slots=True)
class Said:
    """A mass deletion that was held back: which, how often it was said in a row, and since when (monotonic seconds)."""

    removed: frozenset[str]
    times: int
    since: float


@dataclass(frozen=True, slots=True)
class Held:
    """The answer is not obeyed. `said` is to be handed to the next decision."""

    reason: str
    said: Said | None


def hold(
    known: Known, gathered: Gathered, *, revision: int | None, last_revision: int | None, said: Said | None, now: float
) -> Held | None:
    """Decide on a whole set; a delta is explicit and never comes here.

    `revision` is the answer's own, `last_revision` that of the set on disk; a number above it proves a backend that
    knows what it says.
    """
    if not known or (revision is not None and revision > (last_revision or 0)):
        return None
    if not gathered.files:
        return Held(
            f"the backend answers with no files while {len(known)} are in place, as one does that lost its permissions;"
            " they stay. Check API_KEY, or delete the files one by one",
            None,
        )
    removed = removals(known, gathered, delta=False)
    if len(known) < MASS_DELETION_OF or len(removed) * 2 <= len(known):
        return None
    again = said is not None and said.removed == removed
    times, since = (said.times + 1, said.since) if said is not None and again else (1, now)
    if times >= SAID_TIMES and now - since >= SAID_SECONDS:
        return None
    return Held(
        f"the backend's set would delete {len(removed)} of {len(known)} files; that is obeyed once it was said"
        f" {SAID_TIMES} times over at least {SAID_SECONDS:.0f} s (said {times} times so far)",
        Said(removed, times, since),
    )
