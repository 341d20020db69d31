"""Watches one process: whether it answers, and what it costs. What is found is posted as events.

Invariant: one `Health` belongs to one process; nothing of it is kept for the next.

What must not live here: what it compiles and where its pages are (`app_watch`), what follows from an
event (`lifecycle`), and which repair is due (`mender`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp

from agent.clock import Clock
from agent.devserver import hung_route
from agent.devserver.app_watch import AppWatch
from agent.devserver.events import Answered, Event, Listening, Silent
from agent.devserver.launch import Launch, Launcher
from agent.devserver.nextjs import readiness
from agent.devserver.nextjs.hmr_messages import Compile
from agent.process.sample import Sample
from agent.process.usage import Sampler
from agent.status import Traffic

ALIVE_EVERY = 3.0
SILENT_EVERY = 0.25  # a server that restarts itself is back within a second, and requests are held for it meanwhile
STARTING_EVERY = 1.0
SAMPLE_EVERY = 10.0
PSS_EVERY = 6  # samples
PROMPT_SECONDS = 1.0  # who does not answer within this is measured, so that its use of the CPU is known at the time-out
BUSY_CORES: Final = 0.05  # a deadlock uses none; a compile uses what a shared CPU grants, perhaps a sixteenth of a core
SPINNING: Final = 0.9  # of its main thread's time; a loop wants all of it

TURBOPACK: Final = '"turbopack-connected"'  # what it says to each who connects


class Health:
    """`post` gets Answered and Silent; `changed` tells of a new compile or sample."""

    def __init__(
        self,
        launch: Launch,
        launcher: Launcher,
        *,
        workspace: Path,
        port: int,
        pid: int,
        clock: Clock,
        post: Callable[[Event], None],
        changed: Callable[[], None],
        traffic: Callable[[], Traffic],
    ) -> None:
        """`traffic`: what waits for the dev server's answer at this moment."""
        self.app = AppWatch(
            launch,
            launcher,
            workspace=workspace,
            port=port,
            pid=pid,
            changed=changed,
            framed=self._was_framed,
            dropped=self._was_dropped,
        )
        self.sample = Sample()
        self._port = port
        self._pid = pid
        self._clock = clock
        self._post = post
        self._changed = changed
        self._traffic = traffic
        self._alive_at = clock.monotonic()
        self._compile_is_known = False
        self._is_turbopack = False
        self._first_page = True
        self._hears = False
        self._look_now = asyncio.Event()
        self._ask_anew = asyncio.Event()
        self._measure_now = asyncio.Event()

    @property
    def compile(self) -> Compile:
        return self.app.compile

    async def watch(self, session: aiohttp.ClientSession, *, first_page: bool) -> None:
        """Until cancelled. `first_page`: it is ready when it has shown that, and else as soon as it answers at all."""
        self._first_page = first_page
        liveness = readiness.Liveness(session, self._port, self.app.launch.framework.liveness)
        async with asyncio.TaskGroup() as watches:
            watches.create_task(self._measure(self._pid))
            starting = watches.create_task(self._probe_starting(self._pid, session, liveness, watches))
            await (self._page(session) if first_page else starting)
            starting.cancel()
            self._first_page = False
            self._alive_at = self._clock.monotonic()
            self._post(Answered())
            self._measure_now.set()
            self._listen(session, watches)
            watches.create_task(self._probe(self._pid, liveness))

    def look(self) -> None:
        """Probe at once, and ask for the first page anew: files changed, and a server that hangs does not notice."""
        self._look_now.set()
        self._ask_anew.set()

    async def _page(self, session: aiohttp.ClientSession) -> None:
        """Until the first page is there. Next may never answer what it was asked before it could answer anything."""
        while True:
            self._ask_anew.clear()
            async with asyncio.TaskGroup() as asking:
                page = asking.create_task(self.app.open(session))
                anew = asking.create_task(self._ask_anew.wait())
                await asyncio.wait({page, anew}, return_when=asyncio.FIRST_COMPLETED)
                answered = page.done()
                page.cancel()
                anew.cancel()
            if answered:
                return

    async def _probe_starting(
        self, pid: int, session: aiohttp.ClientSession, liveness: readiness.Liveness, watches: asyncio.TaskGroup
    ) -> None:
        """Until the first page, or, where none is asked for, until there is a sign of life."""
        sampler = Sampler(pid)
        await self._take(sampler, with_pss=False)
        while True:
            alive = await liveness.answers()
            sample = await self._take(sampler, with_pss=False)
            if alive:
                self._listen(session, watches)
                if not self._first_page:
                    return
                self._alive_at = self._clock.monotonic()
                self._post(Listening(busy=self._is_busy(sample)))
            else:
                self._post(self._silent(sample))
            await pause(STARTING_EVERY, self._look_now)

    def _listen(self, session: aiohttp.ClientSession, watches: asyncio.TaskGroup) -> None:
        if not self._hears:
            self._hears = True
            watches.create_task(self.app.listen(session))

    async def _probe(self, pid: int, liveness: readiness.Liveness) -> None:
        sampler = Sampler(pid)
        while True:
            alive = await self._alive(liveness, sampler)
            if alive:
                self._alive_at = self._clock.monotonic()
                self._post(Answered())
            else:
                self._post(self._silent(await self._take(sampler, with_pss=False)))
            await pause(ALIVE_EVERY if alive else SILENT_EVERY, self._look_now)

    async def _alive(self, liveness: readiness.Liveness, sampler: Sampler) -> bool:
        async with asyncio.TaskGroup() as asking:
            asked = asking.create_task(liveness.alive())
            done, _ = await asyncio.wait({asked}, timeout=PROMPT_SECONDS)
            if not done:
                await self._take(sampler, with_pss=False)
        return asked.result()

    def _silent(self, sample: Sample) -> Silent:
        # Turbopack compiles on threads of its own. The main thread then is the app's, also where it looped before Next
        # could say that the compile is over.
        no_compile = self._compile_is_known and (self._is_turbopack or not self.compile.compiling)
        spinning = no_compile and sample.demand >= SPINNING
        # Nobody else is let in before the first page.
        route = "/" if self._first_page else hung_route.suspect(self._traffic(), self._alive_at)
        return Silent(self._is_busy(sample), spinning, route if spinning else None)

    def _is_busy(self, sample: Sample) -> bool:
        return self.compile.compiling or sample.cpu >= BUSY_CORES

    async def _measure(self, pid: int) -> None:
        sampler = Sampler(pid)
        for number in count():
            self.sample = await self._take(sampler, with_pss=number % PSS_EVERY == 1)  # not of a newborn
            self._changed()
            await pause(SAMPLE_EVERY, self._measure_now)

    async def _take(self, sampler: Sampler, *, with_pss: bool) -> Sample:
        return await asyncio.to_thread(sampler.take, self._clock.monotonic(), with_pss=with_pss)

    def _was_dropped(self) -> None:
        """It is restarting itself or dying. What it compiles is not known until the socket is there again."""
        self._look_now.set()
        self._compile_is_known = False

    def _was_framed(self, frame: str) -> None:
        self._compile_is_known = True
        self._is_turbopack = self._is_turbopack or TURBOPACK in frame
        self._alive_at = self._clock.monotonic()


async def pause(seconds: float, cut_short: asyncio.Event) -> None:
    """Return after `seconds`, or when `cut_short` is set, which is cleared for the next time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await cut_short.wait()
    cut_short.clear()
