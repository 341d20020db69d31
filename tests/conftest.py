"""What many tests stand on: the template's installed packages, workspaces of it, free ports, a real Chromium.

`scripts/test` installs what these need. Where it is missing a test is skipped with the reason; with CI set it fails,
because a green run that quietly left out the real thing would say something false.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import random
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser, async_playwright
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

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

FIRST_PORT = 20_000
PORTS_EACH = 3_000  # 4 workers stay below 32768, where Linux begins to give ports away

WorkspaceFactory = Callable[..., Path]

# How long an example takes says something about the machine and who else uses it, and nothing about what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_sessionstart() -> None:
    # pytest-asyncio puts the thread's earlier loop back after each test. Where none was ever set, Python up to 3.13
    # makes one up on that question; nobody closes it, and with warnings as errors the whole run fails for it.
    asyncio.set_event_loop(None)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file is one process's: its tests may look for what another of them started. All that becomes another user is
    one's too, because limits, lists and the kernel's last resort are by user.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "another user" if _becomes_another_user(ROOT / file) else file


@cache
def _becomes_another_user(file: Path) -> bool:
    return "needs_split" in file.read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


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


@pytest.fixture(scope="session")
def _ports() -> Iterator[int]:
    """Each worker's own range, below those that the system gives away by itself: what this process finds free is not
    taken by another before the program under test has it.
    """
    first = FIRST_PORT + PORTS_EACH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    # Another run of the tests beside this one most likely starts elsewhere.
    return itertools.islice(itertools.cycle(range(first, first + PORTS_EACH)), random.randrange(PORTS_EACH), None)


@pytest.fixture
def free_port(_ports: Iterator[int]) -> Callable[[], int]:
    """A factory of ports on 127.0.0.1 that nobody holds, never the same one twice in a test."""

    def port() -> int:
        for number in itertools.islice(_ports, PORTS_EACH):
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", number))
                return number
        raise AssertionError(f"no port is free in {PORTS_EACH}")

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
