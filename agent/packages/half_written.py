"""The packages that an installation which was cut short may have left half written: found by their age, and removed.

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
"""Packages in each other. No installer nests them so; user code may, without end."""


def drop_younger(folder: int, than: int, depth: int = 0) -> int:
    """`folder`: a node_modules, or a scope in one; it is closed."""
    dropped = 0
    try:
        for name in os.listdir(folder):
            there = os.lstat(name, dir_fd=folder)
            if not stat.S_ISDIR(there.st_mode) or name in {".bin", ".cache"}:
                continue
            if there.st_ctime_ns >= than and not name.startswith("@"):
                remove(name, folder)
                dropped += 1
                continue
            if depth < _DEEPEST:
                with suppress(OSError):
                    dropped += drop_younger(_inner(name, folder), than, depth + 1)
    finally:
        os.close(folder)
    return dropped


def _inner(name: str, folder: int) -> int:
    """The node_modules of a package, or the scope itself."""
    inner = open_folder(name, folder)
    if name.startswith("@"):
        return inner
    try:
        return open_folder(_MODULES, inner)
    finally:
        os.close(inner)
