"""What many tests stand on: the template's installed packages, workspaces of it, free ports, a real Chromium.

`scripts/test` installs what these need. Where it is missing a test is skipped with the reason; with CI set it fails,
because a green run that quietly left out the real thing would say something false.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.async_api import Browser, async_playwright

from control.dev.workspace import make_project

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "runtime" / "next-template"
CHROMIUM_FLAGS = (
    "--no-sandbox",  # the tests run as root in CI, where Chromium refuses its sandbox
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

WorkspaceFactory = Callable[..., Path]


def pytest_sessionstart() -> None:
    # pytest-asyncio puts the thread's earlier loop back after each test. Where none was ever set, Python up to 3.13
    # makes one up on that question; nobody closes it, and with warnings as errors the whole run fails for it.
    asyncio.set_event_loop(None)


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def template_modules() -> Path:
    """The template's node_modules as its lock file wants them: shared and read-only, to be linked and never run in."""
    lock = (TEMPLATE / "package-lock.json").read_bytes()
    name = hashlib.sha256(lock).hexdigest()[:16]
    modules = Path(os.environ.get("TEMPLATE_MODULES") or ROOT / ".preview" / "modules" / name / "node_modules")
    if not (modules / "next" / "package.json").is_file():
        _missing(f"the template's packages are not at {modules}: scripts/test installs them")
    return modules


@pytest.fixture
def workspace(template_modules: Path) -> Iterator[WorkspaceFactory]:
    """A factory of Next.js projects: `workspace(*overlays)` is a new folder with the template, its packages (hard
    links: 2 s instead of 20 s), and then each overlay folder's files over it.
    """
    # Hard links need one filesystem, and pytest's own folder may be on another.
    home = Path(tempfile.mkdtemp(prefix="workspace-", dir=template_modules.parent))
    made = 0

    def make(*overlays: Path) -> Path:
        nonlocal made
        made += 1
        place = home / str(made)
        make_project(place, template_modules)
        for overlay in overlays:
            shutil.copytree(overlay, place, dirs_exist_ok=True)
        return place

    yield make
    shutil.rmtree(home, ignore_errors=True)  # a dev server that is still dying may be writing below it


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A factory of ports on 127.0.0.1 that nobody held a moment ago, never the same one twice in a test."""
    given: set[int] = set()

    def port() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                number: int = probe.getsockname()[1]
            if number not in given:
                given.add(number)
                return number

    return port


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a real Chromium, the system's own."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        _missing("no Chromium on PATH: on Debian and Ubuntu, apt-get install chromium")
    return path


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One a test: a page that leaks or hangs takes nobody else's down."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        yield running
        await running.close()
