"""Folders in folders, deeper than a path may be long or a recursive call may go."""

from __future__ import annotations

import os
from itertools import cycle, islice
from pathlib import Path


def nest(top: Path, depth: int, *names: str) -> None:
    """`depth` folders below `top`, each in the one before it; their names are `names` in turn."""
    descriptor = os.open(top, os.O_RDONLY)
    for name in islice(cycle(names or ("d",)), depth):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
