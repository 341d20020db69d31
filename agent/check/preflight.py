"""`python -m agent check`: checks everything that a start depends on, prints a line for each, and changes nothing.

Each line names what was checked and, on failure, what to do. Like app.py it is above the rooms; only the command line
imports it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

from agent.backend import session as api
from agent.backend.credential import credential
from agent.check import isolation as check_isolation
from agent.clock import Clock
from agent.config import Settings
from agent.errors import BackendError, ConfigError
from agent.isolation.user import choose_user
from agent.sleep.fly_api import FlySocket
from agent.sync.protocol.client import Backend
from agent.sync.protocol.exchange import FilesRequest

NODE_AT_LEAST = (20, 9)
TOOL_SECONDS = 10.0
BACKEND_SECONDS = 20.0


class _Failed(Exception):
    """What is wrong and what to do about it."""


async def check(settings: Settings, say: Callable[[str], object]) -> int:
    """Run all checks. Returns the exit status: 0 if everything is fine, else 1."""
    say(f"ok    {'configuration':<14} app {settings.app_id}, backend {settings.api_url}\n")
    failed = False
    checks: tuple[tuple[str, Callable[[Settings], Awaitable[str]]], ...] = (
        ("WORKSPACE", _workspace),
        ("STATE_DIR", _state),
        ("ports", _ports),
        ("isolation", _isolation),
        ("project", _project),
        ("DEV_COMMAND", _program),
        ("backend", _backend),
    )
    for name, run in checks:
        try:
            say(f"ok    {name:<14} {await run(settings)}\n")
        except _Failed as why:
            failed = True
            say(f"FAIL  {name:<14} {why}\n")
    with suppress(ConfigError):  # reported above
        user = choose_user(settings, os.environ).user
        if user is not None:
            async for result in check_isolation.attempts(settings, user):
                failed |= check_isolation.print_result(result, say)
    return int(failed)


async def _workspace(settings: Settings) -> str:
    return _folder(settings.workspace)


def _folder(path: Path) -> str:
    """Check that the folder, or its nearest existing parent, is writable."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        raise _Failed(f"{there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _Failed(f"{there} cannot be written by this user")
    return str(path) if there == path else f"{path} will be created in {there}"


async def _state(settings: Settings) -> str:
    found = _folder(settings.state_dir)
    devices = {
        next(folder for folder in (path, *path.parents) if folder.exists()).stat().st_dev
        for path in (settings.state_dir, settings.workspace)
    }
    if len(devices) > 1:
        raise _Failed(f"{settings.state_dir} is on another filesystem than WORKSPACE: set it to a folder beside it")
    return found


async def _ports(settings: Settings) -> str:
    pid = check_isolation.running_agent(settings.state_dir)
    if pid is not None:
        return f"not checked: the agent of this STATE_DIR runs as process {pid} and uses them"
    taken = []
    for name, port in (("PORT", settings.port), ("DEV_PORT", settings.dev_port), ("AGENT_PORT", settings.agent_port)):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                taken.append(f"{name} {port} cannot be used: {error.strerror}")
    if taken:
        raise _Failed("; ".join(taken))
    return f"{settings.port}, {settings.dev_port} and {settings.agent_port} are free"


async def _isolation(settings: Settings) -> str:
    try:
        found = choose_user(settings, os.environ)
    except ConfigError as error:
        raise _Failed(str(error)) from None
    if found.user is None and found.root:
        raise _Failed(f"{found.reason}, and can read and change everything here: create that user, or set DEV_USER")
    return found.reason


async def _project(settings: Settings) -> str:
    if settings.dev_command is None:
        return "the app's own package.json determines what runs"
    program = next((word for word in settings.dev_command if word.startswith("node_modules/")), None)
    if program is None:
        return "DEV_COMMAND runs no program of node_modules"
    if not (settings.workspace / program).is_file():
        raise _Failed(f"{program} is not in WORKSPACE: install the project's packages there (npm install)")
    return f"{program} is installed"


async def _program(settings: Settings) -> str:
    name = "node" if settings.dev_command is None else settings.dev_command[0]
    path = shutil.which(name)
    if path is None:
        raise _Failed(f"{name} is not on PATH: install it, or set DEV_COMMAND")
    if Path(name).name != "node":
        return path
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            node = await asyncio.create_subprocess_exec(path, "--version", stdout=asyncio.subprocess.PIPE)
            text = (await node.communicate())[0].decode(errors="replace").strip()
    except (OSError, TimeoutError):
        raise _Failed(f"{path} does not run") from None
    found = re.match(r"v(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < NODE_AT_LEAST:
        raise _Failed(f"{path} is {text}; Next.js needs {'.'.join(map(str, NODE_AT_LEAST))} or newer")
    return f"{path} {text}"


async def _backend(settings: Settings) -> str:
    clock = Clock()
    session = api.open_session(credential(settings, clock, FlySocket), clock)
    backend = Backend(session, address=lambda tail: api.app_path(settings.api_url, settings.app_id, tail), clock=clock)
    try:
        async with session, asyncio.timeout(BACKEND_SECONDS), backend.get_files(FilesRequest(None)) as answer:
            head = answer.head
            offers = [
                name
                for name, offered in (
                    ("ETag", head.etag is not None),
                    ("NDJSON", head.stream),
                    ("revisions", head.revision is not None),
                )
                if offered
            ]
    except BackendError as error:
        raise _Failed(str(error)) from None
    except TimeoutError:
        raise _Failed(f"{settings.api_url} did not answer within {BACKEND_SECONDS:.0f} s") from None
    return f"answers and accepts the key; optional features: {', '.join(offers) or 'nothing'}"
