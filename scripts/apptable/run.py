"""Runs the rows, two at a time, each in a folder of its own, the rows of one worker in one Chromium."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser

from scripts.apptable import edits, making, patience, programs, tab
from scripts.apptable.judge import Judged, broken, left_out
from scripts.apptable.judge import edits as followed
from scripts.apptable.rows import Row
from scripts.apptable.story import Story

Mode = Literal["both", "ours", "bare"]
"""Which sides run."""

FIRST_PORT = 24_000
PORTS = 1_000
ROW_SECONDS = 420.0


def ports() -> Callable[[], int]:
    """Ports that nobody holds, below those that the system gives away by itself; none twice."""
    numbers = itertools.cycle(range(FIRST_PORT, FIRST_PORT + PORTS))

    def port() -> int:
        for number in itertools.islice(numbers, PORTS):
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", number))
                return number
        raise programs.Failed(f"no port is free from {FIRST_PORT} to {FIRST_PORT + PORTS}")

    return port


@contextmanager
def home() -> Iterator[Path]:
    """A folder on the filesystem of the template's packages, gone afterwards."""
    making.HOME.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="run-", dir=making.HOME))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@dataclass
class Run:
    place: Path
    node: int
    mode: Mode
    at_once: int
    seconds: float | None = None
    """No row starts later than this; None is no limit."""
    began: float = field(default_factory=time.monotonic)
    judged: dict[str, Judged] = field(default_factory=dict)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", file=sys.stderr, flush=True)

    async def all(self, rows: Sequence[Row]) -> None:
        chosen = [row for row in rows if row.bare or self.mode != "bare"]
        await making.install_tools(row.manager for row in chosen if row.node <= self.node)
        queue = self._in_time(chosen)
        port = ports()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.at_once):
                group.create_task(self._worker(queue, port))

    def _in_time(self, rows: Sequence[Row]) -> Iterator[Row]:
        """The rows while there is time to start one."""
        for row in rows:
            if self.seconds is not None and time.monotonic() - self.began > self.seconds:
                return
            yield row

    async def _worker(self, queue: Iterator[Row], port: Callable[[], int]) -> None:
        """A Chromium is kept from row to row, because its start costs as much as a small app's, unless it has ended."""
        for row in queue:
            async with tab.chromium() as browser:
                self._tell(await self._row(row, port, browser))
                while browser.is_connected() and (following := next(queue, None)) is not None:
                    self._tell(await self._row(following, port, browser))

    def _tell(self, judged: Judged) -> None:
        self.judged[judged.row.name] = judged
        told = ", ".join(f"{name} {value}" for name, value in followed(judged).items())
        self.say(f"{judged.row.name}: {judged.outcome} {told}")
        for failure in judged.failures:
            self.say(f"    {failure.splitlines()[0][:300]}")

    async def _row(self, row: Row, port: Callable[[], int], browser: Browser) -> Judged:
        if row.node > self.node:
            return left_out(row, f"needs Node.js {row.node}, and here is {self.node}")
        try:
            made = await making.app(row)
            if self.mode == "both" and row.bare and row.packages:
                await making.prime(made)
        except (programs.Failed, OSError) as failed:
            return broken(row, f"could not be made: {failed}")
        return await self._story(Story(made, self.place / row.name, port, browser))

    async def _story(self, story: Story) -> Judged:
        row = story.made.row
        story.place.mkdir()
        limit = asyncio.timeout(patience.seconds(ROW_SECONDS))
        try:
            async with limit:
                return await (story.tell_bare() if self.mode == "bare" else story.tell(with_bare=self.mode == "both"))
        except edits.Unfit as unfit:
            return broken(row, str(unfit))
        except Exception as error:  # noqa: BLE001 - one row that breaks leaves the others their turn
            if limit.expired():
                return broken(row, f"not done within {patience.seconds(ROW_SECONDS):.0f} s")
            return broken(row, f"{type(error).__name__}: {error}\n{traceback.format_exc()[-2000:]}")
        finally:
            await asyncio.to_thread(shutil.rmtree, story.place, ignore_errors=True)
