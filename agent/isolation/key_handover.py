"""Moves API_KEY out of the process's environment, before anything else runs.

The environment that a process started with stays readable in /proc/PID/environ while it runs: it is part of the initial
stack, and removing the variable from `os.environ` does not change it. So the program writes the key to an anonymous
file in memory, removes the variable, and executes itself again: the same pid, arguments and folder, with a new stack.
The second time it reads the key from that file and closes it, which frees it.

Imports nothing heavy, because the program starts twice. What must not live here: what the key is for, and whether it is
valid (`config`).
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress

VARIABLE = "API_KEY"
HANDED = "PREVIEW_AGENT_KEY_FD"
PR_SET_DUMPABLE = 4


def take_key() -> Mapping[str, str]:
    """The environment with the key, for reading the settings; `os.environ` does not have the key afterwards.

    Executes the program again if the key is in the environment. Raises ValueError if HANDED was not set by the agent.
    """
    number = os.environ.pop(HANDED, None)
    if number is not None:
        return {**os.environ, VARIABLE: _read(number)}
    key = os.environ.pop(VARIABLE, "").strip()
    if key:
        _execute_again(key)
    return dict(os.environ)


def protect_memory() -> None:
    """Forbid core dumps, and access to this process's memory, environment and descriptors by processes of the same
    user.

    A debugger or profiler that attaches (py-spy, gdb, strace) needs root from here on. Uses ctypes, which costs 0.4
    MiB, because Python has no function for it.
    """
    from ctypes import CDLL  # noqa: PLC0415 - not needed by the first of the two starts

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):  # an unusual C library
        CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _execute_again(key: str) -> None:
    file = os.memfd_create("key", 0)  # without MFD_CLOEXEC, so that it stays open over exec
    with os.fdopen(file, "wb", closefd=False) as writer:
        writer.write(key.encode("utf-8", "surrogateescape"))
    os.lseek(file, 0, os.SEEK_SET)
    os.environ[HANDED] = str(file)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - its own command line


def _read(number: str) -> str:
    try:
        with os.fdopen(int(number), "rb") as reader:
            return reader.read().decode("utf-8", "surrogateescape")
    except (ValueError, OSError):
        raise ValueError(f"{HANDED} is {number!r} (the agent sets it for itself alone: unset it)") from None
