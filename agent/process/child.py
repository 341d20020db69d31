"""One process group: spawned, heard, signalled, and gone for certain.

Invariants:
  - When `gone` returns, nothing lives that the command started: not in its group, not in its session, and nothing
    that left both and still carries the run's mark.
  - The leader is reaped last. Until then its id, which names the group and the session, cannot go to a stranger.
  - The child is never blocked by us: what it prints is read as it comes, whoever listens.
  - Spawning does not await, so that no cancellation can come between a process and its owner.

What must not live here: when to start or end one.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

import psutil

from agent.errors import AgentError
from agent.process import find as census
from agent.process.output import Splitter

Stream = Literal["stdout", "stderr"]
Hear = Callable[[Stream, str], None]

CHUNK_BYTES = 8 * 1024  # read at once: as many empty lines are dealt with before anybody else's turn
LAST_WORDS = 200  # lines: a stack trace and the values of an error stand after the line that names it
KILL_SECONDS = 0.5
SWEEPS = 50
SWEEP_SECONDS = 0.01
SWEEPS_BEFORE_ALL = 3
LINGERS = 40
LINGER_SECONDS = 0.02


class SpawnFailed(AgentError):
    """The system did not start the program. `str()` names it and the reason."""

    code: ClassVar[str] = "spawn"


class Child:
    """A running command. Only for the loop's own thread."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        run: str,
        outputs: tuple[_Output, ...],
        end_all: tuple[str, ...] | None,
        *,
        group: bool = False,
    ) -> None:
        self._group = group
        self._lingers = False
        self.pid = process.pid
        self.run = run
        self._process = process
        self._outputs = outputs
        self._end_all = end_all
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._pidfd: int | None = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._on_death)

    def terminate(self) -> None:
        """Ask the leader to end; Next's passes it on. A shell does not: its whole group is asked, and given time to
        end when the shell is gone, which is at once.
        """
        if self._group and self._process.returncode is None:
            self._lingers = True
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
        elif self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def kill(self) -> None:
        """End the leader and its whole group, unasked."""
        self._lingers = False
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def gone(self) -> int:
        """Wait for the leader's end, end what it left behind, reap. Return its status as subprocess has it: -9 is
        SIGKILL.
        """
        await self._ended.wait()
        for _ in range(LINGERS):
            if not self._lingers or not any(map(census.is_living, census.of_session(self.pid))):
                break
            await asyncio.sleep(LINGER_SECONDS)
        self.kill()
        for turn in range(SWEEPS):
            if not self._sweep(turn):
                break
            await asyncio.sleep(SWEEP_SECONDS)
        return self._close()

    def end_now(self) -> None:
        """End and reap everything without awaiting: the last resort when the loop gives no more time."""
        if self._pidfd is None:
            return
        self.kill()
        select.select([self._pidfd], [], [], KILL_SECONDS)
        for turn in range(SWEEPS):
            if not self._sweep(turn):
                break
            select.select([], [], [], SWEEP_SECONDS)
        self._close()

    def last_words(self) -> str:
        return "\n".join(line for output in self._outputs for line in output.last)

    def _on_death(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
        self._ended.set()

    def _sweep(self, turn: int) -> bool:
        """Kill every member but the leader; True when there was one to kill.

        What forks and leaves faster than it is found is ended by the kernel in one go, where it has a user of its own.
        """
        if turn >= SWEEPS_BEFORE_ALL and self._end_all is not None:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(self._end_all, timeout=KILL_SECONDS, check=False)  # noqa: S603 - confine's own words
        killed = False
        for member in {*census.of_session(self.pid), *census.marked(self.run)}:
            if member.pid == self.pid:
                continue
            if census.is_living(member):
                with suppress(psutil.Error):
                    member.kill()
                killed = True
            # An orphan is ours to reap where this process is the first of its container; elsewhere it is not a child.
            with suppress(ChildProcessError):
                os.waitpid(member.pid, os.WNOHANG)
        return killed

    def _close(self) -> int:
        for output in self._outputs:
            output.close()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        return self._process.wait(timeout=1)


class _Output:
    """The read end of one pipe. `last`: the end of what it said, where it is kept."""

    def __init__(self, stream: Stream, descriptor: int, hear: Hear) -> None:
        self.last: deque[str] = deque(maxlen=LAST_WORDS if stream == "stderr" else 0)
        self._stream = stream
        self._descriptor: int | None = descriptor
        self._hear = hear
        self._splitter = Splitter()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def close(self) -> None:
        """Hear what is left in the pipe, and no more: a stray that holds the other end is not waited for."""
        while self._read():
            pass
        if self._descriptor is not None:
            self._end(self._descriptor)

    def _read(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            chunk = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._end(self._descriptor)
            return False
        self._tell(self._splitter.feed(chunk))
        return True

    def _end(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._descriptor = None
        self._tell(self._splitter.rest())

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            if line:
                self.last.append(line)
            self._hear(self._stream, line)


def spawn(
    command: tuple[str, ...],
    *,
    workspace: Path,
    environ: Mapping[str, str],
    run: str,
    hear: Hear,
    end_all: tuple[str, ...] | None = None,
    group: bool = False,
) -> Child:
    """Start `command` in a session of its own. Raises SpawnFailed.

    `group`: the command is a shell, and what it starts is asked to end with it. `end_all` is the last resort: a command
    that ends whatever runs as the user that `command` runs as.
    """
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - the command is the owner's own setting, and no shell reads it
            command,
            cwd=workspace,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out_write,
            stderr=err_write,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        os.close(out_read)
        os.close(err_read)
        reason = getattr(error, "strerror", None) or str(error)
        where = f" in {workspace}" if str(getattr(error, "filename", "")) == str(workspace) else ""
        raise SpawnFailed(f"{command[0]} could not be started{where}: {reason}") from None
    finally:
        os.close(out_write)
        os.close(err_write)
    outputs = (_Output("stdout", out_read, hear), _Output("stderr", err_read, hear))
    return Child(process, run, outputs, end_all, group=group)


def describe(status: int) -> str:
    """An exit status as one sentence."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    if status == 0:
        return "it exited with status 0 without being asked, as Next does when its server process was killed"
    return f"it exited with status {status}"
