"""Replaces hard links in node_modules by copies, so that writing to them changes no file outside. Blocks."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from agent.nofollow import open_file


def unshare(modules: Path, copy: Path, check: Callable[[], None]) -> None:
    """`copy`: a path on the same filesystem for the copy being made. `check` may raise to end it early."""
    for _, _, names, folder in os.fwalk(modules):
        check()
        for name in names:
            there = os.lstat(name, dir_fd=folder)
            if stat.S_ISREG(there.st_mode) and there.st_nlink > 1:
                with os.fdopen(open_file(name, folder), "rb") as source, copy.open("wb") as target:
                    there = os.fstat(source.fileno())  # another file may have taken the name
                    shutil.copyfileobj(source, target)
                    os.fchmod(target.fileno(), stat.S_IMODE(there.st_mode))
                    os.fchown(target.fileno(), there.st_uid, there.st_gid)
                os.utime(copy, ns=(there.st_atime_ns, there.st_mtime_ns))
                os.rename(copy, name, dst_dir_fd=folder)
