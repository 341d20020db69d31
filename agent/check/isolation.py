"""The second half of `agent check`: attacks the agent as the app's own code could.

The attempts are in attacks.py. A process started like the dev server makes them against the agent that runs on this
STATE_DIR. If none runs, this process replaces it: it holds the same key in the same way, and opens AGENT_PORT with the
agent's own server. An attempt that succeeds is a failed check.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path

import orjson

from agent import __version__
from agent.admin.server import Actions, Admin
from agent.clock import Clock
from agent.config import Settings
from agent.errors import ConfigError
from agent.isolation.child_environment import for_child
from agent.isolation.sandbox import confined
from agent.isolation.user import DevUser
from agent.process.file_locks import file_locks
from agent.process.output import LogTail
from agent.status import Snapshot
from agent.status_board import StatusBoard

SECONDS = 60.0
FLY_SOCKET = "/.fly/api"
OWN_PYTHON = os.path.realpath(sys.executable)
SYSTEM_PYTHON = "/usr/bin/python3"
"""Used if the user cannot run the agent's own Python."""
OUTSIDE = (
    "/",
    "/etc",
    "/root",
    "/boot",
    "/usr/bin",
    "/usr/local/bin",
    "/usr/lib",
    "/var/lib",
    "/run",
)

CheckResult = tuple[str, str, str]
"""(result, what was tried, detail). Results: "refused", "went through", "not tried", and "ok" for plain checks."""


def running_agent(state_dir: Path) -> int | None:
    """The process that holds the lock of this STATE_DIR, or None. Trying to take the lock could block its start."""
    lock = state_dir / "lock"
    with suppress(OSError):
        inode = lock.stat().st_ino
        for held in file_locks():
            if held.kind == "FLOCK" and held.inode == inode and _has_open(held.pid, lock):
                return held.pid
    return None


def _has_open(pid: int, path: Path) -> bool:
    """True if the process has this very file open: an inode number is unique only within one filesystem."""
    with suppress(OSError):
        return any(entry.readlink() == path for entry in Path(f"/proc/{pid}/fd").iterdir())
    return False


async def attempts(settings: Settings, user: DevUser) -> AsyncIterator[CheckResult]:
    """The result of each check and attempt. What the user can read without an attack is checked first."""
    pid = running_agent(settings.state_dir)
    against = f"process {pid}, the running agent" if pid else "this process in place of an agent"
    yield "ok", "attacks", f"as {user.name} ({user.uid}) on {against}"
    yield _exposed_key(settings, user)
    yield _workspace_owner(settings, user)
    async with _port(settings, user, running=pid is not None) as port:
        target = _target(settings, pid or os.getpid(), port)
        lines = await _run(target, settings, user)
    for line in lines:
        yield line


def _target(settings: Settings, pid: int, port: int | None) -> dict[str, object]:
    state = settings.state_dir
    code = Path(__file__).resolve().parents[1]
    key_file = os.environ.get("API_KEY_FILE")
    return {
        "pid": pid,
        "fly": FLY_SOCKET,
        "port": port or settings.agent_port,
        "hosts": sorted({"127.0.0.1", *_own_address()}),
        "closed_folders": [str(state / name) for name in ("", "staging", "conflicts")],
        "closed_files": [str(state / name) for name in ("lock", "manifest.jsonl", "dev-server.json")]
        + ([key_file] if key_file else []),
        "folders": [*OUTSIDE, str(code), str(code.parent), sys.prefix, str(settings.workspace.parent)],
    }


def _own_address() -> Iterator[str]:
    """This machine's address on the network, if it has one. Connecting a datagram socket sends nothing."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        yield probe.getsockname()[0]


def _exposed_key(settings: Settings, user: DevUser) -> CheckResult:
    """Looks for the key in command lines, which all users can read, and in environments that `user` can read."""
    what = "the key"
    if settings.api_key is None:
        return "not tried", what, "API_KEY is not set"
    key = settings.api_key.reveal().encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if key in (process / "cmdline").read_bytes():
                    return "went through", what, f"it is in the command line of process {process.name}"
                if process.stat().st_uid == user.uid and key in (process / "environ").read_bytes():
                    return "went through", what, f"it is in the environment of process {process.name}"
    return "ok", what, "it is in no command line, and in no environment of that user"


def _workspace_owner(settings: Settings, user: DevUser) -> CheckResult:
    what = "the workspace"
    if not settings.workspace.is_dir():
        return "not tried", what, f"{settings.workspace} does not exist yet"
    there = settings.workspace.stat()
    if there.st_uid not in {0, user.uid}:
        return "went through", what, f"{settings.workspace} belongs to user {there.st_uid}, who can change it as well"
    return "ok", what, f"{settings.workspace} is {'its own' if there.st_uid else 'made its own at the start'}"


@asynccontextmanager
async def _port(settings: Settings, user: DevUser, *, running: bool) -> AsyncIterator[int | None]:
    """Runs the agent's own server on AGENT_PORT, or on another port if that is taken. Yields None if an agent runs."""
    if running:
        yield None
        return
    clock = Clock()
    admin = Admin(
        board=StatusBoard(Snapshot(settings.app_id, settings.machine, "", __version__)),
        key=settings.api_key,
        logs=LogTail(),
        actions=Actions(sync=lambda: None, restart=lambda _: None, sleep=lambda: "this is only a check"),
        clock=clock,
        app_user=user.uid,
    )
    try:
        try:
            await admin.start(settings.agent_port)
        except ConfigError:
            await admin.start(0)
        yield admin.port
    finally:
        await admin.stop()


async def _run(target: dict[str, object], settings: Settings, user: DevUser) -> list[CheckResult]:
    program = resources.files("agent.check").joinpath("attacks.py").read_text("utf-8")
    environ = for_child(os.environ, "check", user)
    folder = settings.workspace if settings.workspace.is_dir() else Path("/")
    output = b""
    for python in (OWN_PYTHON, SYSTEM_PYTHON):
        command = confined((python, "-I", "-S", "-c", program), user)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                output = await _communicate(command, orjson.dumps(target), environ, folder)
        if output:
            break
    results: list[CheckResult] = []
    for line in output.splitlines():
        result, what, detail = orjson.loads(line)
        results.append((result, what, detail))
    return results or [("went through", "attacks", f"{user.name} can run no Python, so nothing was tried")]


async def _communicate(command: tuple[str, ...], stdin: bytes, environ: dict[str, str], folder: Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return (await process.communicate(stdin))[0]
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def print_result(check_result: CheckResult, say: Callable[[str], object]) -> bool:
    """Print one result. Returns whether it is a failure."""
    result, what, detail = check_result
    mark = {"ok": "ok", "refused": "ok", "not tried": "-"}.get(result, "FAIL")
    shown = detail if result == "ok" else f"{result}: {detail}"
    say(f"{mark:<5} {'isolation':<14} {what}: {shown}\n")
    return result == "went through"
