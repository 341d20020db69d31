"""Sets of files as hypothesis makes them up: small names, so that files and folders often want the same place."""

from __future__ import annotations

import hashlib

from hypothesis import strategies as st

from agent.paths import overlapping
from agent.sync.answer_set import AnswerSet

Set = dict[str, bytes]

_PARTS = st.sampled_from(["a", "b", "c"])
_DEEP = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)
_CONFIG = st.sampled_from(["package.json", "next.config.ts", "tsconfig.json", ".env.local", "src/package.json"])
PATHS = _DEEP | _CONFIG
CONTENTS = st.sampled_from([b"", b"1", b"22", b"333"])


def _together(files: Set) -> Set:
    clashing = overlapping(files)
    return {path: data for path, data in files.items() if path not in clashing}


SETS = st.dictionaries(PATHS, CONTENTS, max_size=12).map(_together)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def known(files: Set) -> dict[str, str]:
    """A set as the manifest knows it."""
    return {path: sha(data) for path, data in files.items()}


def whole(files: Set) -> AnswerSet:
    """The answer that says a whole set."""
    answer_set = AnswerSet()
    for path, data in files.items():
        answer_set.add(path, sha(data), len(data))
    answer_set.refuse_overlaps()
    return answer_set


def delta(old: Set, new: Set) -> AnswerSet:
    """The answer that says what `new` has over `old`."""
    answer_set = AnswerSet()
    for path, data in new.items():
        if old.get(path) != data:
            answer_set.add(path, sha(data), len(data))
    for path in old.keys() - new.keys():
        answer_set.delete(path)
    answer_set.refuse_overlaps(frozenset(old))
    return answer_set
