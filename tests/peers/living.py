"""Who lives where: asked of the system, apart from the agent's own way of asking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil


def living_in(folder: Path) -> list[psutil.Process]:
    """The processes that work in `folder` or below it, as an agent's dev server, an installer and all their children
    do; also where what they work in was deleted.
    """
    return list(_working_in(folder))


def sleeping_in(folder: Path) -> list[str]:
    """How long each `sleep` that works there was told to take."""
    told = []
    for process in _working_in(folder):
        with suppress(psutil.Error):
            command = process.cmdline()
            if command[:1] == ["sleep"]:
                told.append(command[1])
    return sorted(told)


def _working_in(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if f"{process.cwd()}/".startswith(f"{folder}/"):
                yield process
