"""Health checks of one process: whether it answers, and how much memory and CPU it uses. Results are posted as events.

Invariant: one `Health` belongs to one process.

What must not live here: what the server compiles and where its pages are (`app_watch`), what follows from an event
(`lifecycle`), and which repair is due (`repair/`).
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
SILENT_EVERY = 0.25
"""A server that restarts itself answers again within a second, and the gateway holds requests meanwhile."""
STARTING_EVERY = 1.0
SAMPLE_EVERY = 10.0
PSS_EVERY = 6
"""Every so many samples."""
PROMPT_SECONDS = 1.0
"""A probe that takes longer starts a measurement, so that the CPU use is known when the probe times out."""
BUSY_CORES: Final = 0.05
"""A deadlock uses no CPU; a compile uses what a shared CPU grants, perhaps a sixteenth of a core."""
SPINNING: Final = 0.9
"""The share of its time that the main thread wants the CPU. A loop wants all of it."""

TURBOPACK: Final = '"turbopack-connected"'
"""In the message that Turbopack sends to each new connection."""


class Health:
    """`post` takes Answered, Silent and Listening; `changed` is called for a new compile or sample."""

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
        """`traffic`: the requests that wait for the dev server at this moment."""
        self.app = AppWatch(
            launch,
            launcher,
            workspace=workspace,
            port=port,
            pid=pid,
            changed=changed,
            on_message=self._on_message,
            on_drop=self._on_drop,
        )
        self.sample = Sample()
        self._port = port
        self._pid = pid
        self._clock = clock
        self._post = post
        self._changed = changed
        self._traffic = traffic
        self._alive_at = clock.monotonic()
        """When it last showed activity."""
        self._compile_is_known = False
        """Its socket is connected, so that `compile` is current."""
        self._is_turbopack = False
        self._first_page = True
        self._listening = False
        self._probe_at_once = asyncio.Event()
        self._retry_page = asyncio.Event()
        self._measure_now = asyncio.Event()

    @property
    def compile(self) -> Compile:
        return self.app.compile

    async def watch(self, session: aiohttp.ClientSession, *, first_page: bool) -> None:
        """Run until cancelled. `first_page`: it is ready when it has answered its first page, else when it answers the
        liveness probe.
        """
        self._first_page = first_page
        liveness = readiness.LivenessCheck(session, self._port, self.app.launch.framework.liveness)
        async with asyncio.TaskGroup() as watches:
            watches.create_task(self._measure(self._pid))
            starting = watches.create_task(self._probe_starting(self._pid, session, liveness, watches))
            await (self._wait_for_first_page(session) if first_page else starting)
            starting.cancel()
            self._first_page = False
            self._alive_at = self._clock.monotonic()
            self._post(Answered())
            self._measure_now.set()
            self._listen(session, watches)
            watches.create_task(self._probe(self._pid, liveness))

    def probe_now(self) -> None:
        """Probe at once, and request the first page again, because files changed."""
        self._probe_at_once.set()
        self._retry_page.set()

    async def _wait_for_first_page(self, session: aiohttp.ClientSession) -> None:
        """Next may never answer a request that came before an edit, so the page is requested again after each."""
        while True:
            self._retry_page.clear()
            async with asyncio.TaskGroup() as asking:
                page = asking.create_task(self.app.open(session))
                retry = asking.create_task(self._retry_page.wait())
                await asyncio.wait({page, retry}, return_when=asyncio.FIRST_COMPLETED)
                answered = page.done()
                page.cancel()
                retry.cancel()
            if answered:
                return

    async def _probe_starting(
        self, pid: int, session: aiohttp.ClientSession, liveness: readiness.LivenessCheck, watches: asyncio.TaskGroup
    ) -> None:
        """Probe until the first page is answered or, if none is requested, until the probe is."""
        sampler = Sampler(pid)
        await self._sample(sampler, with_pss=False)
        while True:
            alive = await liveness.answers()
            sample = await self._sample(sampler, with_pss=False)
            if alive:
                self._listen(session, watches)
                if not self._first_page:
                    return
                self._alive_at = self._clock.monotonic()
                self._post(Listening(busy=self._is_busy(sample)))
            else:
                self._post(self._silent_event(sample))
            await pause(STARTING_EVERY, self._probe_at_once)

    def _listen(self, session: aiohttp.ClientSession, watches: asyncio.TaskGroup) -> None:
        if not self._listening:
            self._listening = True
            watches.create_task(self.app.listen(session))

    async def _probe(self, pid: int, liveness: readiness.LivenessCheck) -> None:
        sampler = Sampler(pid)
        while True:
            alive = await self._alive(liveness, sampler)
            if alive:
                self._alive_at = self._clock.monotonic()
                self._post(Answered())
            else:
                self._post(self._silent_event(await self._sample(sampler, with_pss=False)))
            await pause(ALIVE_EVERY if alive else SILENT_EVERY, self._probe_at_once)

    async def _alive(self, liveness: readiness.LivenessCheck, sampler: Sampler) -> bool:
        async with asyncio.TaskGroup() as asking:
            asked = asking.create_task(liveness.alive())
            done, _ = await asyncio.wait({asked}, timeout=PROMPT_SECONDS)
            if not done:
                await self._sample(sampler, with_pss=False)
        return asked.result()

    def _silent_event(self, sample: Sample) -> Silent:
        # Turbopack compiles on threads of its own, so a busy main thread runs the app's code, even if it looped before
        # Next could report the end of the compile.
        no_compile = self._compile_is_known and (self._is_turbopack or not self.compile.compiling)
        spinning = no_compile and sample.demand >= SPINNING
        # The gateway lets no other request in before the first page.
        route = "/" if self._first_page else hung_route.suspect(self._traffic(), self._alive_at)
        return Silent(self._is_busy(sample), spinning, route if spinning else None)

    def _is_busy(self, sample: Sample) -> bool:
        return self.compile.compiling or sample.cpu >= BUSY_CORES

    async def _measure(self, pid: int) -> None:
        sampler = Sampler(pid)
        for number in count():
            self.sample = await self._sample(sampler, with_pss=number % PSS_EVERY == 1)  # not at its start
            self._changed()
            await pause(SAMPLE_EVERY, self._measure_now)

    async def _sample(self, sampler: Sampler, *, with_pss: bool) -> Sample:
        return await asyncio.to_thread(sampler.sample, self._clock.monotonic(), with_pss=with_pss)

    def _on_drop(self) -> None:
        """It restarts itself or exits. What it compiles is unknown until the socket is connected again."""
        self._probe_at_once.set()
        self._compile_is_known = False

    def _on_message(self, message: str) -> None:
        self._compile_is_known = True
        self._is_turbopack = self._is_turbopack or TURBOPACK in message
        self._alive_at = self._clock.monotonic()


async def pause(seconds: float, cut_short: asyncio.Event) -> None:
    """Return after `seconds`, or when `cut_short` is set, and clear it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await cut_short.wait()
    cut_short.clear()
