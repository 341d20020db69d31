"""What a test needs to run the app's code as another user for real: root's rights, a user, a folder both can reach.

`nobody` stands for DEV_USER. pytest's own folders are closed to it, and so may be the Python that runs the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import pytest

from agent.config import Settings, load
from agent.isolation.sandbox import confined
from agent.isolation.user import SYSTEM_FOLDERS, TOOLS, DevUser, SandboxTools

NOBODY = 65534
PYTHON = "/usr/bin/python3"


def tools() -> SandboxTools:
    found = [shutil.which(name, path=SYSTEM_FOLDERS) for name in TOOLS]
    return SandboxTools(*[path or "" for path in found])


def missing() -> str | None:
    """Why no split can be made here, or None."""
    if os.geteuid() != 0:
        return "these tests become another user, which takes root"
    if not all(astuple(tools())):
        return f"{', '.join(TOOLS)} are not all installed (coreutils, util-linux)"
    if not Path(PYTHON).exists():
        return f"there is no {PYTHON}, which every user can run"
    return None


needs_split = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that every user can reach, and only root can write."""
    folder = Path(tempfile.mkdtemp(prefix="split-", dir="/tmp")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def nobody(folder: Path) -> DevUser:
    """DEV_USER with its home in `folder`."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, NOBODY, NOBODY)
    return DevUser("nobody", NOBODY, NOBODY, home, Path("/tmp"), tools())


def settings(folder: Path, **environ: str) -> Settings:
    least = {
        "APP_ID": "demo",
        "API_URL": "http://127.0.0.1:1",
        "WORKSPACE": str(folder / "workspace"),
        "STATE_DIR": str(folder / "state"),
        "DEV_USER": str(NOBODY),
    }
    return load(least | environ)


def as_nobody(folder: Path, script: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a Python script the way the agent runs the dev server, and wait for its end."""
    command = confined((PYTHON, "-I", "-c", script, *arguments), nobody(folder))
    return subprocess.run(
        command,
        cwd=cwd or folder,
        env={"PATH": SYSTEM_FOLDERS},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
