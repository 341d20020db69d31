"""Watches one process: whether it answers, what it compiles, what it costs. What is found is posted as events.

Invariant: one `Health` belongs to one process; nothing of it is kept for the next.

What must not live here: what follows from an event (`lifecycle`), and which repair is due (`mender`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp

from agent.clock import Clock
from agent.devserver import frames, hmr, probe
from agent.devserver.frames import Compile
from agent.devserver.pause import pause
from agent.devserver.states import Answered, Event, Silent
from agent.process.sample import Sample
from agent.process.usage import Sampler

ALIVE_EVERY = 3.0
SILENT_EVERY = 0.25  # a server that restarts itself is back within a second, and requests are held for it meanwhile
SAMPLE_EVERY = 10.0
PSS_EVERY = 6  # samples
BUSY_CORES: Final = 0.05  # a deadlock uses none; a compile uses what a shared CPU grants, perhaps a sixteenth of a core


class Health:
    """`post` gets Answered and Silent; `changed` tells of a new compile or sample."""

    def __init__(
        self,
        *,
        port: int,
        workspace: Path,
        exists: Callable[[str], bool],
        clock: Clock,
        post: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self.compile = Compile()
        self.sample = Sample()
        self._port = port
        self._workspace = workspace
        self._exists = exists
        self._clock = clock
        self._post = post
        self._changed = changed
        self._look_now = asyncio.Event()
        self._measure_now = asyncio.Event()

    async def watch(self, pid: int, session: aiohttp.ClientSession) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as watches:
            watches.create_task(self._measure(pid))
            await probe.answered(session, self._port)
            self._post(Answered())
            self._measure_now.set()
            watches.create_task(hmr.listen(session, self._port, self._read_frame, self._socket_dropped))
            watches.create_task(self._probe(pid, probe.Liveness(session, self._port)))

    async def _probe(self, pid: int, liveness: probe.Liveness) -> None:
        sampler = Sampler(pid)
        while True:
            alive = await liveness.alive()
            if alive:
                self._post(Answered())
            else:
                sample = await self._take(sampler, with_pss=False)
                self._post(Silent(busy=self.compile.compiling or sample.cpu >= BUSY_CORES))
            await pause(ALIVE_EVERY if alive else SILENT_EVERY, self._look_now)

    async def _measure(self, pid: int) -> None:
        sampler = Sampler(pid)
        for number in count():
            self.sample = await self._take(sampler, with_pss=number % PSS_EVERY == 1)  # not of a newborn
            self._changed()
            await pause(SAMPLE_EVERY, self._measure_now)

    async def _take(self, sampler: Sampler, *, with_pss: bool) -> Sample:
        return await asyncio.to_thread(sampler.take, self._clock.monotonic(), with_pss=with_pss)

    def _socket_dropped(self) -> None:
        self._look_now.set()
        self.compile = replace(self.compile, compiling=False)
        self._changed()

    def _read_frame(self, frame: str) -> None:
        self.compile = frames.read(frame, self.compile, self._exists, str(self._workspace))
        self._changed()
