"""Explains a "Module not found" whose file exists under a name that differs only in case or Unicode form.

Linux tells `Menu.tsx` from `menu.tsx`, and a composed `ë` from `e` with a combining mark. So an import can fail here
that works on the author's machine, and the two names may look identical. `similar` compares names, and `Spelling` reads
the folders.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from agent.status import Problem

_UNRESOLVED = re.compile(r"Can't resolve '(?P<import>[^'\n]+)'")
_ALIAS = ("@/", "~/")
_SOURCE_FOLDERS = ("", "src")
NAMES_READ: Final = 5000


def wanted(problem: Problem) -> str | None:
    """The import that the bundler did not find; None for other problems, and for imports of packages."""
    found = _UNRESOLVED.search(problem.message)
    if problem.file is None or found is None:
        return None
    name = found["import"]
    return name if name.startswith(("./", "../", *_ALIAS)) else None


def similar(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that equals `name` except for case or Unicode form, with or without its extension."""
    for candidate in names:
        if name not in _shapes(candidate) and _folded(name) in map(_folded, _shapes(candidate)):
            return candidate
    return None


def explain(imported: str, file: str) -> str:
    """One sentence with both spellings: the import's, and that of the file that `similar` found."""
    one_form = {unicodedata.normalize("NFC", shape) for shape in _shapes(file)}
    if unicodedata.normalize("NFC", imported) in one_form:
        return (
            "the file exists, but its name uses different Unicode characters that look the same: the import has "
            f"{_spelled(imported)}, the file is {_spelled(file)}; rename the file, or copy its name into the import"
        )
    return f'the file exists under another spelling: the import has "{imported}", the file is "{file}"; use one of them'


def _shapes(file: str) -> tuple[str, ...]:
    """The names by which an import can refer to `file`."""
    return file, file.partition(".")[0], file.rpartition(".")[0] or file


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _spelled(name: str) -> str:
    """The name with non-ASCII characters escaped, because two forms may look the same."""
    return '"' + "".join(letter if letter.isascii() else f"\\u{ord(letter):04x}" for letter in name) + '"'


class Spelling:
    """Reads the folders on an import's path."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def explained(self, problem: Problem) -> Problem:
        """The problem, with a first line about the other spelling if there is one."""
        name = wanted(problem)
        if name is None or problem.file is None:
            return problem
        for path in _paths(name, problem.file):
            folder, last = "", ""
            for last in path.split("/"):
                names = self._names(folder)
                other = None if _is_among(last, names) else similar(last, names)
                if other is not None:
                    return replace(problem, message=f"{explain(last, other)}\n{problem.message}")
                folder = posixpath.join(folder, last)
        return problem

    def _names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._workspace / folder) as entries:
                return [entry.name for entry, _ in zip(entries, range(NAMES_READ), strict=False)]
        except (OSError, ValueError):
            return []


def _is_among(name: str, names: list[str]) -> bool:
    return any(name in _shapes(candidate) for candidate in names)


def _paths(name: str, importer: str) -> list[str]:
    """The workspace paths that the import can refer to."""
    if name.startswith(_ALIAS):
        paths = [posixpath.join(folder, name[2:]) for folder in _SOURCE_FOLDERS]
    else:
        paths = [posixpath.join(posixpath.dirname(importer), name)]
    inside = [posixpath.normpath(path) for path in paths]
    return [path for path in inside if not path.startswith(("..", "/"))]
