"""Raises the system's limits of file watches, which only root of the machine itself may do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.errors import DiskError

FOLDER = Path("/proc/sys/fs/inotify")
WANTED: Mapping[str, int] = {"max_user_watches": 524_288, "max_user_instances": 1_024}


def raise_limits(folder: Path = FOLDER) -> None:
    """Raise the limits that are lower than WANTED. Raises DiskError if that is not allowed, or if none was lower."""
    raised = False
    for name, wanted in WANTED.items():
        path = folder / name
        try:
            if int(path.read_text("ascii")) < wanted:
                path.write_text(f"{wanted}\n", "ascii")
                raised = True
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DiskError(f"fs.inotify.{name} could not be set to {wanted}: {reason}") from None
    if not raised:
        raise DiskError("the limits of fs.inotify are high enough, so another limit was reached")
