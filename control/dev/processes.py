"""The two programs that `scripts/dev` runs, each in a session of its own, so that the terminal's Ctrl-C reaches only us
and both are ended in order.

Invariants: a program's output is always read, so that it never stands still on a full pipe; all of it goes to its log
file, and what a person wants to see goes to `show`. When `running` ends, nothing of the program is left.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

import orjson

GRACE_SECONDS = 5.0
QUIET = frozenset({"level", "timestamp", "event", "logger"})
"""Keys of a log event that are not among the fields shown."""

WORTH_SHOWING = frozenset({"sync.applied", "sync.held"})
"""Events that are no warnings and still news to whoever edits."""

TOLD_BY_NEWS = frozenset({"install.failed", "install.impossible"})
"""Warnings whose reason is told from the agent's status (news.py), with its lines as lines."""

LONGEST_LINE = 1 << 20


class Ended(Exception):
    """A program failed. The message ends with its last lines."""


class Program:
    def __init__(
        self, name: str, process: asyncio.subprocess.Process, log: IO[bytes], show: Callable[[str], None]
    ) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._show = show
        self._last: deque[str] = deque(maxlen=15)

    async def watch(self) -> None:
        """Read its output until it ends by itself. Raises Ended unless that was with status 0."""
        await self._read()
        status = await self._process.wait()
        if status:
            raise Ended("\n".join([f"the {self.name} ended with status {status}; its last words:", *self._last]))

    async def _read(self) -> None:
        output = self._process.stdout
        while output is not None and (line := await output.readline()):
            self._log.write(line)
            self._log.flush()
            text = line.decode("utf-8", "replace").rstrip()
            self._last.append(text)
            if (news := worth_showing(text)) is not None:
                self._show(f"{self.name:7} {news}")

    async def stop(self) -> None:
        self._signal(signal.SIGTERM)
        await self._end_of_output(GRACE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._end_of_output(GRACE_SECONDS)
        await self._process.wait()

    async def _end_of_output(self, seconds: float) -> None:
        """Its output ends when the last process that holds it has ended, and not only the program itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._read()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], environ: Mapping[str, str], log: Path, show: Callable[[str], None]
) -> AsyncIterator[Program]:
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE,
            start_new_session=True,
        )
        program = Program(name, process, file, show)
        try:
            yield program
        finally:
            await program.stop()


def worth_showing(line: str) -> str | None:
    """A log line as a person reads it, or None where it is of no interest. What is no event is always shown."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line or None
    if not isinstance(event, dict):
        return line
    if event.get("event") in TOLD_BY_NEWS:
        return None
    if event.get("level") == "info" and event.get("event") not in WORTH_SHOWING:
        return None
    fields = " ".join(f"{name}={value}" for name, value in event.items() if name not in QUIET)
    return f"{event.get('event', '')} {fields}".strip()
