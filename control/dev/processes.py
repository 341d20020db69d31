"""Runs the two programs of `scripts/dev`, each in a session of its own, so that Ctrl-C in the terminal reaches only
this process, which ends both in order.

Invariants: the output of a program is always read, so that it never blocks on a full pipe. All of it goes to its log
file, and lines for a person go to `show`. When `running` ends, no process of the program is left.
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
"""Keys of a log event that are not printed as fields."""

SHOWN_EVENTS = frozenset({"sync.applied", "sync.held_back"})
"""Events below a warning that interest the person who edits."""

SHOWN_AS_STATUS = frozenset({"install.failed", "install.impossible"})
"""Warnings that are printed from the agent's status instead (news.py), where their text keeps its lines."""

LONGEST_LINE = 1 << 20


class ProgramFailed(Exception):
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
        """Read the output until the program ends. Raise ProgramFailed unless its exit status is 0."""
        await self._read()
        status = await self._process.wait()
        if status:
            raise ProgramFailed(
                "\n".join([f"the {self.name} ended with status {status}; its last lines:", *self._last])
            )

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
        """Wait for the end of the output, which comes when the last process that has inherited it ends."""
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
    """Return a log line for a person, or None if it is not worth showing. Lines that are not events are shown."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line or None
    if not isinstance(event, dict):
        return line
    if event.get("event") in SHOWN_AS_STATUS:
        return None
    if event.get("level") == "info" and event.get("event") not in SHOWN_EVENTS:
        return None
    fields = " ".join(f"{name}={value}" for name, value in event.items() if name not in QUIET)
    return f"{event.get('event', '')} {fields}".strip()
