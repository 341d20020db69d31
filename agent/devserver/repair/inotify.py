"""The system's limits of file watches, raised where that is ours to do: in a virtual machine of our own, as root."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.errors import DiskError

FOLDER = Path("/proc/sys/fs/inotify")
WANTED: Mapping[str, int] = {"max_user_watches": 524_288, "max_user_instances": 1_024}


def raise_limits(folder: Path = FOLDER) -> None:
    """Raise what is lower than wanted. Raises DiskError where the system does not let us, or nothing was lower."""
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
        raise DiskError("the limits of fs.inotify are high already, and it is another one that was reached")
