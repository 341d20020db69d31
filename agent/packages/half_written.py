"""Finds and removes the packages that an interrupted installation may have left half written, by their change time.

Everything here blocks, and nothing follows a link.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Final

from agent.nofollow import open_folder, remove

_MODULES: Final = "node_modules"
_DEEPEST: Final = 100
"""Nested packages. No installer nests them this deep; the app's code may nest them without end."""


def remove_newer_packages(folder: int, than: int, depth: int = 0) -> int:
    """Remove the packages that changed at `than` or later, and return their number. `folder`: a descriptor of a
    node_modules or of a scope in one; it is closed.
    """
    removed = 0
    try:
        for name in os.listdir(folder):
            there = os.lstat(name, dir_fd=folder)
            if not stat.S_ISDIR(there.st_mode) or name in {".bin", ".cache"}:
                continue
            if there.st_ctime_ns >= than and not name.startswith("@"):
                remove(name, folder)
                removed += 1
                continue
            if depth < _DEEPEST:
                with suppress(OSError):
                    removed += remove_newer_packages(_inner_packages(name, folder), than, depth + 1)
    finally:
        os.close(folder)
    return removed


def _inner_packages(name: str, folder: int) -> int:
    """A descriptor of the node_modules of a package, or of the scope itself."""
    inner = open_folder(name, folder)
    if name.startswith("@"):
        return inner
    try:
        return open_folder(_MODULES, inner)
    finally:
        os.close(inner)
