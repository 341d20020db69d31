"""A filesystem of a few MiB, for as long as a test needs one that is full; skipped where none may be mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: int, mode: str = "755") -> Iterator[None]:
    """`folder`, which is there and empty, is one of `size` bytes."""
    mount = ("mount", "-t", "tmpfs", "-o", f"size={size},mode={mode}", "none", str(folder))
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no filesystem may be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)
