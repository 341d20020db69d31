"""Runs a command of a package manager: reads its output, limits its time and memory, and leaves no process behind.

It runs in WORKSPACE as a process group of its own, with the dev server's allow-listed environment. Install scripts are
the app's code, so it runs as the dev server's user.

What must not live here: whether to install, and what follows from the result.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from agent.clock import Clock
from agent.errors import AgentError
from agent.isolation import child_environment
from agent.isolation.sandbox import confined
from agent.isolation.user import DevUser
from agent.packages.managers import Command
from agent.packages.output import FailureCause, OutputReader
from agent.packages.toolchain import Manager
from agent.process import orphans
from agent.process.child import Child, Stream, describe_exit, spawn
from agent.process.usage import Sampler

log = structlog.get_logger()

INSTALL_SECONDS: Final = 600.0  # a template without a cache takes 30 s, and a small shared CPU is ten times slower
_VERSION_SECONDS: Final = 5.0
_NPMRC_BYTES: Final = 64 * 1024
SAMPLE_SECONDS: Final = 1.0
LINES_KEPT: Final = 400


@dataclass(frozen=True, slots=True)
class Limits:
    seconds: float = INSTALL_SECONDS
    memory: int | None = None
    """Bytes of resident memory over the whole process tree."""


@dataclass(frozen=True, slots=True)
class RunResult:
    seconds: float
    failure: str | None = None
    """Why it failed, as one message; None for a success."""
    incomplete: bool = False
    """It was killed or could not write everything, so files may be half written."""
    cause: FailureCause | None = None
    """What the manager printed about a failure."""
    printed: tuple[str, ...] = ()
    """The last lines of its output."""


class CommandRunner:
    """Not reentrant: one command at a time."""

    def __init__(
        self,
        *,
        workspace: Path,
        state_dir: Path,
        environ: Mapping[str, str],
        clock: Clock,
        on_line: Callable[[str], None],
        limits: Limits,
        user: DevUser | None,
    ) -> None:
        """`on_line` is called with every line for the log. `user`: who runs the commands, if not the agent's user."""
        self.workspace = workspace
        self._state_dir = state_dir
        self._environ = environ
        self._clock = clock
        self._on_line = on_line
        self._limits = limits
        self._user = user
        self._child: Child | None = None

    async def end_orphan(self) -> None:
        """End a command that a killed agent left running."""
        await orphans.end_run(self._state_dir, orphans.INSTALLER)

    def end_now(self) -> None:
        """Kill the running command, if any, without awaiting its end."""
        if self._child is not None:
            self._child.end_now()

    @property
    def home(self) -> Path:
        """The home folder of the user who runs the commands."""
        return self._user.home if self._user is not None else Path(self._environ.get("HOME") or "/")

    @property
    def path(self) -> str:
        return self._environ.get("PATH", os.defpath)

    async def version_of(self, program: str) -> str | None:
        """The output of `program --version`; None if it cannot be run."""
        try:
            async with asyncio.timeout(_VERSION_SECONDS):
                process = await asyncio.create_subprocess_exec(
                    program,
                    "--version",
                    env={"PATH": self.path},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                printed, _ = await process.communicate()
        except (OSError, TimeoutError):
            return None
        return printed.decode("utf-8", "replace").strip() or None

    def npmrc(self) -> bytes:
        """The content of the user's own .npmrc. Blocks."""
        try:
            with os.fdopen(os.open(self.home / ".npmrc", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                return file.read(_NPMRC_BYTES)
        except OSError:
            return b""

    async def run(
        self,
        manager: Manager,
        command: Command,
        progress: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
    ) -> RunResult:
        """Run `command` to its end, with `environment` added to the dev server's. If this is cancelled, everything that
        the command started has ended before it returns.
        """
        began = self._clock.monotonic()
        reader, lines = OutputReader(manager), deque[str](maxlen=LINES_KEPT)

        def read_line(_: Stream, line: str) -> None:
            before = reader.progress
            if reader.read_line(line):
                lines.append(line)
                self._on_line(line)
            if reader.progress != before:
                progress(reader.progress)

        self._on_line(f"$ {' '.join(command)}")
        try:
            child = self._child = self._spawn(command, environment or {}, read_line)
        except AgentError as error:
            return RunResult(self._clock.monotonic() - began, str(error))
        log.info("install.started", manager=manager, pid=child.pid)
        limit: str | None
        try:
            limit, status = await self._wait_within_limits(child)
        finally:
            self.end_now()
        seconds = self._clock.monotonic() - began
        if limit is not None:
            return RunResult(seconds, limit, incomplete=True)
        if status == 0 and reader.unpack_error is not None:
            return RunResult(
                seconds, f"{manager} could not write all of the packages: {reader.unpack_error}", incomplete=True
            )
        if status == 0:
            return RunResult(seconds, printed=tuple(lines))
        printed = tuple(self._without_paths(line) for line in lines)
        from agent.packages.causes import find_cause  # noqa: PLC0415 - 0.3 MiB of patterns that only a failure needs

        found = find_cause(manager, printed)
        failure = f"{manager} could not install the packages"
        failure += f":\n{found.message}" if found.message else f": {describe_exit(status)}"
        return RunResult(seconds, failure, incomplete=status < 0, cause=found, printed=printed)

    def _without_paths(self, line: str) -> str:
        """`line` with relative paths, which tell the app's author the same and nothing about the machine."""
        return line.replace(f"{self.workspace}/", "").replace(str(self.workspace), ".")

    def _spawn(self, command: Command, environment: Mapping[str, str], on_line: Callable[[Stream, str], None]) -> Child:
        run = secrets.token_hex(16)
        orphans.write_record(self._state_dir, orphans.RunRecord(run), orphans.INSTALLER)
        return spawn(
            confined(command, self._user),
            workspace=self.workspace,
            environ={**child_environment.for_child(self._environ, run, self._user), **environment},
            run=run,
            on_line=on_line,
        )

    async def _wait_within_limits(self, child: Child) -> tuple[str | None, int]:
        """The limit it was killed for, if any, and its exit status."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch(child))
            status = await child.wait_gone()
            if not watch.done():
                watch.cancel()
        return (None if watch.cancelled() else watch.result()), status

    async def _watch(self, child: Child) -> str:
        """Kill the child when it exceeds a limit, and return which."""
        limit, sampler = self._limits.memory, Sampler(child.pid)
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    await asyncio.sleep(SAMPLE_SECONDS)
                    now = await asyncio.to_thread(sampler.sample, self._clock.monotonic(), with_pss=False)
                    if limit is not None and now.rss > limit:
                        child.kill()
                        took, allowed = now.rss // 2**20, limit // 2**20
                        return f"the installation used {took} MiB of memory and was killed: {allowed} MiB are allowed"
        except TimeoutError:
            child.kill()
            return f"the installation took longer than {self._limits.seconds:.0f} s and was killed"
