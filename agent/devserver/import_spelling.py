"""A compile error about an import whose file differs from it only in spelling, told with both spellings.

A file system that tells `Menu.tsx` from `menu.tsx`, and `ë` in one character from `e` with a mark, answers "Module not
found" to an import that works where the app was written, and the two names may look identical. `similar` decides, and
`Spelling` looks at the folder.
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
    """What the problem's file imports and the bundler did not find; None for another problem, and for packages."""
    found = _UNRESOLVED.search(problem.message)
    if problem.file is None or found is None:
        return None
    name = found["import"]
    return name if name.startswith(("./", "../", *_ALIAS)) else None


def similar(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` means, with or without extension: equal but for letter case or Unicode form."""
    for candidate in names:
        if name not in _shapes(candidate) and _folded(name) in map(_folded, _shapes(candidate)):
            return candidate
    return None


def explain(imported: str, file: str) -> str:
    """One sentence that names both spellings: the import's, and the file's as `similar` found it."""
    one_form = {unicodedata.normalize("NFC", shape) for shape in _shapes(file)}
    if unicodedata.normalize("NFC", imported) in one_form:
        return (
            "the file is there, and its name is made of other Unicode characters that look the same: the import has "
            f"{_spelled(imported)}, the file is {_spelled(file)}; rename the file, or copy its name into the import"
        )
    return f'the file is there in another spelling: the import has "{imported}", the file is "{file}"; use one of them'


def _shapes(file: str) -> tuple[str, ...]:
    """What an import may call `file`."""
    return file, file.partition(".")[0], file.rpartition(".")[0] or file


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _spelled(name: str) -> str:
    """The name with each character beyond ASCII as its code, since two forms may look the same."""
    return '"' + "".join(letter if letter.isascii() else f"\\u{ord(letter):04x}" for letter in name) + '"'


class Spelling:
    """Looks at the folder of an import."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def explained(self, problem: Problem) -> Problem:
        """The problem, with the other spelling in its first line where there is one."""
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
    """The paths that the import may mean, relative to the workspace."""
    if name.startswith(_ALIAS):
        paths = [posixpath.join(folder, name[2:]) for folder in _SOURCE_FOLDERS]
    else:
        paths = [posixpath.join(posixpath.dirname(importer), name)]
    inside = [posixpath.normpath(path) for path in paths]
    return [path for path in inside if not path.startswith(("..", "/"))]
