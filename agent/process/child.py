"""One child process with its process group: spawned, read, signalled, and ended completely.

Invariants:
  - When `wait_gone` returns, no process that the command started is left: none in its group or its session, and none
    that left both and still carries the run's mark.
  - The leader is reaped last. Until then its pid, which names the group and the session, cannot be reused.
  - The child never blocks on its output: it is read as it comes.
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
from agent.process import find
from agent.process.output import LineSplitter

Stream = Literal["stdout", "stderr"]
OnLine = Callable[[Stream, str], None]

CHUNK_BYTES = 8 * 1024
"""Read at once. It bounds how many lines are handled before the event loop runs something else."""
STDERR_LINES_KEPT = 200
"""A stack trace and the values of an error come after the line that names it."""
KILL_SECONDS = 0.5
SWEEPS = 50
SWEEP_SECONDS = 0.01
SWEEPS_BEFORE_KILL_ALL = 3
GRACE_CHECKS = 40
GRACE_CHECK_SECONDS = 0.02


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
        kill_all_command: tuple[str, ...] | None,
        *,
        group: bool = False,
    ) -> None:
        self._group = group
        """SIGTERM goes to the whole group: the leader is a shell, which does not pass it on."""
        self._grace = False
        """The group was sent SIGTERM and may take GRACE_CHECKS to exit after its leader."""
        self.pid = process.pid
        self.run = run
        self._process = process
        self._outputs = outputs
        self._end_all = kill_all_command
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._pidfd: int | None = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)

    def terminate(self) -> None:
        """Send SIGTERM to the leader, which Next passes on. A shell exits at once without passing it on, so with
        `group` the whole group gets it, and time to exit after the shell.
        """
        if self._group and self._process.returncode is None:
            self._grace = True
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
        elif self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the whole group."""
        self._grace = False
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def wait_gone(self) -> int:
        """Wait for the leader's exit, end what it left behind, and reap it. Returns the status as subprocess does: -9
        for SIGKILL.
        """
        await self._ended.wait()
        for _ in range(GRACE_CHECKS):
            if not self._grace or not any(map(find.is_alive, find.of_session(self.pid))):
                break
            await asyncio.sleep(GRACE_CHECK_SECONDS)
        self.kill()
        for turn in range(SWEEPS):
            if not self._sweep(turn):
                break
            await asyncio.sleep(SWEEP_SECONDS)
        return self._close()

    def end_now(self) -> None:
        """Kill and reap everything without awaiting, for when the event loop does not run any more."""
        if self._pidfd is None:
            return
        self.kill()
        select.select([self._pidfd], [], [], KILL_SECONDS)
        for turn in range(SWEEPS):
            if not self._sweep(turn):
                break
            select.select([], [], [], SWEEP_SECONDS)
        self._close()

    def stderr_tail(self) -> str:
        return "\n".join(line for output in self._outputs for line in output.last)

    def _on_exit(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
        self._ended.set()

    def _sweep(self, turn: int) -> bool:
        """Kill every process of the run but the leader. Returns whether one was alive.

        A fork bomb outruns that, so `kill_all_command` ends all of the user's processes at once, if there is a user.
        """
        if turn >= SWEEPS_BEFORE_KILL_ALL and self._end_all is not None:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(self._end_all, timeout=KILL_SECONDS, check=False)  # noqa: S603 - sandbox's own command
        killed = False
        for member in {*find.of_session(self.pid), *find.with_run_mark(self.run)}:
            if member.pid == self.pid:
                continue
            if find.is_alive(member):
                with suppress(psutil.Error):
                    member.kill()
                killed = True
            # As pid 1 of a container this process has to reap orphans; elsewhere they are not its children.
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
    """The read end of one pipe."""

    def __init__(self, stream: Stream, descriptor: int, on_line: OnLine) -> None:
        self.last: deque[str] = deque(maxlen=STDERR_LINES_KEPT if stream == "stderr" else 0)
        self._stream = stream
        self._descriptor: int | None = descriptor
        self._on_line = on_line
        self._splitter = LineSplitter()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def close(self) -> None:
        """Read what is left in the pipe. A process that still holds the other end is not waited for."""
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
        self._emit(self._splitter.feed(chunk))
        return True

    def _end(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._descriptor = None
        self._emit(self._splitter.finish())

    def _emit(self, lines: list[str]) -> None:
        for line in lines:
            if line:
                self.last.append(line)
            self._on_line(self._stream, line)


def spawn(
    command: tuple[str, ...],
    *,
    workspace: Path,
    environ: Mapping[str, str],
    run: str,
    on_line: OnLine,
    kill_all_command: tuple[str, ...] | None = None,
    group: bool = False,
) -> Child:
    """Start `command` in a session of its own. Raises SpawnFailed.

    `group`: the command is a shell, so SIGTERM goes to its whole group. `kill_all_command`: kills every process of the
    user that `command` runs as, as the last resort.
    """
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell interprets it
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
    outputs = (_Output("stdout", out_read, on_line), _Output("stderr", err_read, on_line))
    return Child(process, run, outputs, kill_all_command, group=group)


def describe_exit(status: int) -> str:
    """An exit status as one sentence."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    if status == 0:
        return "it exited with status 0 without being asked to, as Next does when its server process is killed"
    return f"it exited with status {status}"
