"""One run of a package manager: started, heard, limited, and gone for certain when its time is over.

Runs in WORKSPACE as a process group of its own, with the dev server's allow-listed environment. It is user code
(install scripts): it runs as the dev server's user, and has limits of time and memory.

What must not live here: whether to install, and what follows.
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
from agent.packages.output import Cause, Reading
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
    """`memory`: bytes of resident memory over the whole process tree."""

    seconds: float = INSTALL_SECONDS
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """`why`: None for a success, else one message. `cut_short`: it was killed, and what it wrote may be half there.

    `cause`: what the manager said about a failure of its own. `printed`: the last lines of the run.
    """

    seconds: float
    why: str | None = None
    cut_short: bool = False
    cause: Cause | None = None
    printed: tuple[str, ...] = ()


class Installer:
    """Runs one command at a time; who calls sees to that."""

    def __init__(
        self,
        *,
        workspace: Path,
        state_dir: Path,
        environ: Mapping[str, str],
        clock: Clock,
        hear: Callable[[str], None],
        limits: Limits,
        user: DevUser | None,
    ) -> None:
        """`hear` is told every line that people should see. `user`: as for the dev server."""
        self.workspace = workspace
        self._state_dir = state_dir
        self._environ = environ
        self._clock = clock
        self._hear = hear
        self._limits = limits
        self._user = user
        self._child: Child | None = None

    async def end_orphan(self) -> None:
        """End what an agent that was killed left running."""
        await orphans.end_run(self._state_dir, orphans.INSTALLER)

    def end_now(self) -> None:
        """End a run without awaiting. When there is none, nothing happens."""
        if self._child is not None:
            self._child.end_now()

    @property
    def home(self) -> Path:
        """The home folder of the user as whom commands run."""
        return self._user.home if self._user is not None else Path(self._environ.get("HOME") or "/")

    @property
    def path(self) -> str:
        return self._environ.get("PATH", os.defpath)

    async def version_of(self, program: str) -> str | None:
        """What `program --version` prints, where it can be run."""
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
        """The user's own .npmrc. Blocks."""
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
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `command` to its end, with these `variables` besides the dev server's own environment. When this is
        cancelled, everything that it started is gone before it returns.
        """
        began = self._clock.monotonic()
        reading, lines = Reading(manager), deque[str](maxlen=LINES_KEPT)

        def hear(_: Stream, line: str) -> None:
            before = reading.progress
            if reading.hear(line):
                lines.append(line)
                self._hear(line)
            if reading.progress != before:
                progress(reading.progress)

        self._hear(f"$ {' '.join(command)}")
        try:
            child = self._child = self._spawn(command, variables or {}, hear)
        except AgentError as error:
            return Ended(self._clock.monotonic() - began, str(error))
        log.info("install.started", manager=manager, pid=child.pid)
        over: str | None
        try:
            over, status = await self._limited(child)
        finally:
            self.end_now()
        took = self._clock.monotonic() - began
        if over is not None:
            return Ended(took, over, cut_short=True)
        if status == 0 and reading.spoiled is not None:
            return Ended(took, f"{manager} could not write all of the packages: {reading.spoiled}", cut_short=True)
        if status == 0:
            return Ended(took, printed=tuple(lines))
        said = tuple(self._without_paths(line) for line in lines)
        from agent.packages.causes import cause  # noqa: PLC0415 - 0.3 MiB of patterns that only a failure needs

        found = cause(manager, said)
        why = f"{manager} could not install the packages"
        why += f":\n{found.message}" if found.message else f": {describe_exit(status)}"
        return Ended(took, why, cut_short=status < 0, cause=found, printed=said)

    def _without_paths(self, line: str) -> str:
        """Relative paths say as much to the app's author, and nothing about the machine."""
        return line.replace(f"{self.workspace}/", "").replace(str(self.workspace), ".")

    def _spawn(self, command: Command, variables: Mapping[str, str], hear: Callable[[Stream, str], None]) -> Child:
        run = secrets.token_hex(16)
        orphans.write_record(self._state_dir, orphans.RunRecord(run), orphans.INSTALLER)
        return spawn(
            confined(command, self._user),
            workspace=self.workspace,
            environ={**child_environment.for_child(self._environ, run, self._user), **variables},
            run=run,
            on_line=hear,
        )

    async def _limited(self, child: Child) -> tuple[str | None, int]:
        """Why it had to be ended, and its status."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch(child))
            status = await child.wait_gone()
            if not watch.done():
                watch.cancel()
        return (None if watch.cancelled() else watch.result()), status

    async def _watch(self, child: Child) -> str:
        """End the child when it is over a limit; which one."""
        limit, sampler = self._limits.memory, Sampler(child.pid)
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    await asyncio.sleep(SAMPLE_SECONDS)
                    now = await asyncio.to_thread(sampler.sample, self._clock.monotonic(), with_pss=False)
                    if limit is not None and now.rss > limit:
                        child.kill()
                        took, allowed = now.rss // 2**20, limit // 2**20
                        return f"the installation took {took} MiB of memory and was ended: {allowed} MiB are allowed"
        except TimeoutError:
            child.kill()
            return f"the installation took over {self._limits.seconds:.0f} s and was ended"
