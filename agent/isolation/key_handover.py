"""API_KEY out of the environment, into memory, before anything else runs.

What a process was started with stays readable in /proc/PID/environ as long as it lives: that is its first stack, and
taking the variable out of `os.environ` does not change it. So the program puts the key into an anonymous file in
memory, takes the variable away, and becomes itself again: the same process id, arguments and folder, with a new first
stack. The second time the key is read from that file, which is closed and thereby gone.

Imports nothing heavy, since all of it is paid twice. What must not live here: what the key is for, or whether it is any
good (config.py).
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


def take() -> Mapping[str, str]:
    """The environment as the settings are to be read from, the key in it; `os.environ` does not hold it afterwards.

    Becomes a new program where the key came in the environment. Raises ValueError where HANDED is not this program's.
    """
    number = os.environ.pop(HANDED, None)
    if number is not None:
        return {**os.environ, VARIABLE: _read(number)}
    key = os.environ.pop(VARIABLE, "").strip()
    if key:
        _become_anew(key)
    return dict(os.environ)


def seal() -> None:
    """No core dump of this process, and nobody of the same user may look into its memory, environment or files.

    A debugger or profiler that attaches from outside (py-spy, gdb, strace) needs root from here on. Asked of the kernel
    by ctypes, since Python has no name for it; that costs 0.4 MiB.
    """
    from ctypes import CDLL  # noqa: PLC0415 - not paid by the first of the two lives

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):  # another C library than the usual ones
        CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _become_anew(key: str) -> None:
    file = os.memfd_create("key", 0)  # not closed by exec: handing it over is its purpose
    with os.fdopen(file, "wb", closefd=False) as writer:
        writer.write(key.encode("utf-8", "surrogateescape"))
    os.lseek(file, 0, os.SEEK_SET)
    os.environ[HANDED] = str(file)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself, as it was called


def _read(number: str) -> str:
    try:
        with os.fdopen(int(number), "rb") as reader:
            return reader.read().decode("utf-8", "surrogateescape")
    except (ValueError, OSError):
        raise ValueError(f"{HANDED} is {number!r} (the agent sets it for itself alone: unset it)") from None
