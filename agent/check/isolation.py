"""`agent check`, its second half: attacks the agent as the app's own code could.

The attempts are attacks.py's. They are made by a process that is started in the dev server's own way, against the
agent that runs on this STATE_DIR. Where none runs, this very process stands in for it: it holds the same key in the
same way, and opens AGENT_PORT with the agent's own server. One that goes through is a failed check.
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
"""Where the agent's own is closed to the user."""
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

Verdict = tuple[str, str, str]
"""What came of it ("refused", "went through", "not tried", or "ok" where nobody was to refuse), what it was, detail."""


def running_agent(state_dir: Path) -> int | None:
    """The process that holds the lock of this STATE_DIR, or None. Taking the lock to find out would get in its way."""
    lock = state_dir / "lock"
    with suppress(OSError):
        inode = lock.stat().st_ino
        for held in file_locks():
            if held.kind == "FLOCK" and held.inode == inode and _has_open(held.pid, lock):
                return held.pid
    return None


def _has_open(pid: int, path: Path) -> bool:
    """Inodes are unique on one filesystem only."""
    with suppress(OSError):
        return any(entry.readlink() == path for entry in Path(f"/proc/{pid}/fd").iterdir())
    return False


async def attempts(settings: Settings, user: DevUser) -> AsyncIterator[Verdict]:
    """Each attempt with its verdict. What the user does not even need to attack is looked at first."""
    pid = running_agent(settings.state_dir)
    against = f"process {pid}, the agent that runs" if pid else "this process, which stands in for an agent"
    yield "ok", "attacks", f"as {user.name} ({user.uid}) on {against}"
    yield _key_at_large(settings, user)
    yield _usable(settings, user)
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
    """The address that this machine would be known by elsewhere, where it has one; nothing is sent."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        yield probe.getsockname()[0]


def _key_at_large(settings: Settings, user: DevUser) -> Verdict:
    """The key in what other processes were started with: command lines are open to all, environments to their user."""
    what = "the key"
    if settings.api_key is None:
        return "not tried", what, "there is no API_KEY"
    key = settings.api_key.reveal().encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if key in (process / "cmdline").read_bytes():
                    return "went through", what, f"it is in the command line of process {process.name}"
                if process.stat().st_uid == user.uid and key in (process / "environ").read_bytes():
                    return "went through", what, f"it is in the environment of process {process.name}"
    return "ok", what, "it is in no command line, and in no environment of that user's"


def _usable(settings: Settings, user: DevUser) -> Verdict:
    what = "the workspace"
    if not settings.workspace.is_dir():
        return "not tried", what, f"{settings.workspace} is not there yet"
    there = settings.workspace.stat()
    if there.st_uid not in {0, user.uid}:
        return "went through", what, f"{settings.workspace} belongs to user {there.st_uid}, who can change it as well"
    return "ok", what, f"{settings.workspace} is {'its own' if there.st_uid else 'made its own at the start'}"


@asynccontextmanager
async def _port(settings: Settings, user: DevUser, *, running: bool) -> AsyncIterator[int | None]:
    """The agent's own server on AGENT_PORT while no agent holds it; on any port where somebody else does."""
    if running:
        yield None
        return
    clock = Clock()
    admin = Admin(
        board=StatusBoard(Snapshot(settings.app_id, settings.machine, "", __version__)),
        key=settings.api_key,
        logs=LogTail(),
        actions=Actions(sync=lambda: None, restart=lambda _: None, sleep=lambda: "a stand-in does not sleep"),
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


async def _run(target: dict[str, object], settings: Settings, user: DevUser) -> list[Verdict]:
    program = resources.files("agent.check").joinpath("attacks.py").read_text("utf-8")
    environ = for_child(os.environ, "check", user)
    folder = settings.workspace if settings.workspace.is_dir() else Path("/")
    said = b""
    for python in (OWN_PYTHON, SYSTEM_PYTHON):
        command = confined((python, "-I", "-S", "-c", program), user)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                said = await _say(command, orjson.dumps(target), environ, folder)
        if said:
            break
    verdicts: list[Verdict] = []
    for line in said.splitlines():
        came, what, detail = orjson.loads(line)
        verdicts.append((came, what, detail))
    return verdicts or [("went through", "attacks", f"no Python that {user.name} can run, so that nothing was tried")]


async def _say(command: tuple[str, ...], words: bytes, environ: dict[str, str], folder: Path) -> bytes:
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
        return (await process.communicate(words))[0]
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def line(verdict: Verdict, say: Callable[[str], object]) -> bool:
    """Print one; whether it is a failure."""
    came, what, detail = verdict
    mark = {"ok": "ok", "refused": "ok", "not tried": "-"}.get(came, "FAIL")
    shown = detail if came == "ok" else f"{came}: {detail}"
    say(f"{mark:<5} {'isolation':<14} {what}: {shown}\n")
    return came == "went through"
