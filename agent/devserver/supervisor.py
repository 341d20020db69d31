"""The loop: what happens to the dev server goes in as events, `lifecycle` decides, and its effects are done here.

Invariants:
  - Events are handled one at a time, in order, and the last word of a process is its Exited: whoever watches it is
    ended before that is posted, so that no word of an earlier process is taken for one of the current.
  - When `run` ends, by a stop, a cancellation or a defect, no process is left behind. A first cancellation is treated
    as a stop, whose states hold its deadlines; a second one kills at once.

What must not live here: a decision. Which state follows is lifecycle's, what a file means is rules'.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import aiohttp
import structlog

from agent.clock import Clock
from agent.devserver import frames, hmr, lifecycle, probe, rules
from agent.devserver.facts import Times, became_ready, facts, problems
from agent.devserver.frames import Compile
from agent.devserver.mender import Glance, Mender
from agent.devserver.pause import pause
from agent.devserver.repair import Verdict
from agent.devserver.states import (
    Answered,
    Checked,
    Effect,
    Ending,
    Event,
    Exited,
    FilesChanged,
    LaunchFailed,
    Launching,
    Ready,
    RepairAsked,
    RestartAsked,
    Silent,
    Spawned,
    State,
    StopAsked,
    Stopped,
    Stopping,
    Tick,
    Waiting,
    deadline,
    first,
)
from agent.errors import AgentError, DiskError
from agent.isolation import child_environment
from agent.isolation.sandbox import confined, end_all
from agent.isolation.user import DevUser
from agent.process import orphans
from agent.process.child import Child, Stream, describe, spawn
from agent.process.output import Allowance, LogTail
from agent.process.sample import Sample
from agent.process.usage import Sampler
from agent.status import Applied, DevServerFacts, Problem, Source

log = structlog.get_logger()

ALIVE_EVERY = 3.0
SILENT_EVERY = 0.25  # a server that restarts itself is back within a second, and requests are held for it meanwhile
SAMPLE_EVERY = 10.0
PSS_EVERY = 6  # samples
BUSY_CORES = 0.05  # a deadlock uses none; a compile uses what a shared CPU grants, which may be a sixteenth of a core
VACATE_SECONDS = 5.0  # SIGTERM, SIGKILL and the sweep take 1.5 s at most
STOP_SECONDS = 3.0  # the states of a stop take 1.5 s at most; over this something is broken and is not waited for


class Supervisor:
    """Keeps one command running. Only for the loop's own thread; `run` may be called once."""

    def __init__(
        self,
        *,
        command: tuple[str, ...],
        workspace: Path,
        state_dir: Path,
        port: int,
        clock: Clock,
        publish: Callable[[DevServerFacts], None],
        problems: Callable[[Source, tuple[Problem, ...]], None],
        environ: Mapping[str, str],
        user: DevUser | None = None,
    ) -> None:
        """`user`: who runs the command, where that is not the agent's own user."""
        self.logs = LogTail()
        self._allowance = Allowance()
        self._command = command
        self._workspace = workspace
        self._state_dir = state_dir
        self._port = port
        self._clock = clock
        self._publish = publish
        self._publish_problems = problems
        self._environ = environ
        self._user = user
        self._mender = Mender(
            workspace=workspace,
            port=port,
            clock=clock,
            vm_megabytes=environ.get("FLY_VM_MEMORY_MB"),
            user=user,
            ask=lambda why: self._post(RepairAsked(why)),
            changed=self._tell,
        )
        self._state: State = first(clock.monotonic())
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._child: Child | None = None
        self._launching: asyncio.Task[None] | None = None
        self._attending: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._times = Times()
        self._compile = Compile()
        self._sample = Sample()
        self._synced = False
        self._held: str | None = None
        self._moved = asyncio.Event()
        self._look_now = asyncio.Event()
        self._measure_now = asyncio.Event()
        self._running = False
        self._over = asyncio.Event()
        self._published: tuple[object, ...] = ()

    def files_changed(self, applied: Applied) -> None:
        """A set is on disk, whole."""
        self._synced = True
        meaning = rules.meaning(applied.written, applied.deleted)
        self._mender.files_changed(meaning)
        self._post(FilesChanged(meaning))

    def restart(self, reason: str) -> None:
        """End the server and start it anew, with a new budget of crashes; start it where it gave up."""
        self._post(RestartAsked(reason))

    def visited(self) -> None:
        """Somebody asked for a page: what can wait for a quiet second waits for a later one."""
        self._mender.stirred()

    def free_space(self, why: str) -> bool:
        """Have the caches removed, since something could not be written; False: that helps nobody now."""
        return self._mender.free_space(why)

    def hold(self, why: str) -> None:
        """Start nothing until `release`; what runs goes on. `why` is the end of "the dev server waits: …"."""
        self._held = why
        if isinstance(self._state, Waiting):  # for another reason until now
            self._post(FilesChanged("packages"))

    async def vacate(self, why: str) -> None:
        """Hold, and end what runs. Returns when nothing runs, or when its end takes too long."""
        self._held = self._held or why
        with suppress(TimeoutError):
            async with asyncio.timeout(VACATE_SECONDS):
                while self._running and not isinstance(self._state, Waiting | Stopped):
                    self._moved.clear()
                    if not isinstance(self._state, Launching | Ending):  # those are on their way to be asked again
                        self._post(RestartAsked(why))
                    await self._moved.wait()

    async def make_room(self, why: str) -> bool:
        """As `free_space`, for who holds: returns when nothing runs and the caches are gone."""
        if not self._mender.free_space(why):
            return False
        await self.vacate(why)
        await self._mender.mend()
        return True

    def release(self) -> None:
        """End a hold, and look at once whether everything is there."""
        if self._held is not None:
            self._held = None
            self._post(FilesChanged("packages"))

    async def stop(self) -> None:
        """End the server and then `run`. Returns when both are over; before `run`, at once."""
        self._post(StopAsked())
        if self._running:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._over.wait()
            except TimeoutError:
                log.warning("dev_server.stop_overdue", seconds=STOP_SECONDS)  # run's own end still kills

    def end_now(self) -> None:
        """The last resort: nothing of it runs any more on return."""
        if self._child is not None:
            self._child.end_now()

    async def run(self) -> None:
        self._running = True
        try:
            connector = aiohttp.TCPConnector(force_close=True)  # a probe that reuses a connection asks an old server
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
                asyncio.TaskGroup() as tasks,
            ):
                await self._turn(session, tasks)
        finally:
            self.end_now()
            self._running = False
            self._over.set()

    async def _turn(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        cancelled: asyncio.CancelledError | None = None
        self._tell()
        while not isinstance(self._state, Stopped):
            try:
                event = await self._next()
            except asyncio.CancelledError as error:
                if cancelled is not None:
                    raise
                cancelled = error
                event = StopAsked()
            for effect in self._move(event):
                self._do(effect, session, tasks)
            self._tell()
        for task in (self._launching, self._attending, self._mending):
            if task is not None:
                task.cancel()
        if cancelled is not None:
            raise cancelled

    async def _next(self) -> Event:
        """The next event, or a Tick at the state's deadline."""
        at = deadline(self._state)
        try:
            async with asyncio.timeout(None if at is None else max(0.0, at - self._clock.monotonic())):
                return await self._events.get()
        except TimeoutError:
            return Tick()

    def _post(self, event: Event) -> None:
        self._events.put_nowait(event)

    def _move(self, event: Event) -> tuple[Effect, ...]:
        before, now = self._state, self._clock.monotonic()
        self._state, effects = lifecycle.step(before, event, now)
        self._moved.set()
        if isinstance(event, Exited):
            self._child = None
            self._compile, self._sample = Compile(), Sample()
        if type(self._state) is not type(before):
            self._times = self._times.after(before, self._state, now=now, wall=self._clock.wall())
        if became_ready(before, self._state):
            self._mender.ready()
        return effects

    def _tell(self) -> None:
        state, care = self._state, self._mender.care
        stuck = isinstance(state, Waiting) and self._synced and not self._held and state.missing == self._missing()
        own = problems(state, care, synced=stuck)
        now = facts(state, self._times, self._compile, self._sample, care, stuck=stuck)
        told = (now, own, self._compile.errors)
        if told == self._published:
            return
        before, self._published = self._published, told
        last = before[0] if before else None
        if not isinstance(last, DevServerFacts) or (last.state, last.reason) != (now.state, now.reason):
            log.info("dev_server.state", state=now.state, reason=now.reason, pid=now.pid, crashes=now.crashes)
        self._publish(now)
        if before[1:2] != (own,):
            self._publish_problems("dev_server", own)
        if before[2:3] != (self._compile.errors,):
            self._publish_problems("compile", self._compile.errors)

    def _do(self, effect: Effect, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case Effect.CHECK:
                self._post(Checked(self._missing()))
            case Effect.LAUNCH:
                self._launching = tasks.create_task(self._launch(session, tasks))
            case Effect.MEND:
                self._mending = tasks.create_task(self._mender.mend())
            case Effect.ABANDON:
                if self._launching is not None:
                    self._launching.cancel()
                if self._child is None:
                    self._post(LaunchFailed("the launch was abandoned", self._clock.chance()))
            case Effect.TERMINATE | Effect.KILL:
                if self._child is not None:  # it may have gone by itself in the meantime
                    (self._child.terminate if effect is Effect.TERMINATE else self._child.kill)()

    def _missing(self) -> str | None:
        return self._held or rules.missing(self._command, str(self._workspace), self._exists)

    def _exists(self, path: str) -> bool:
        return os.path.exists(self._workspace / path)  # noqa: PTH110 - Path.exists raises where a name is too long

    async def _launch(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        missing = self._missing()
        if missing is not None:
            self._post(Checked(missing))
            return
        run = secrets.token_hex(16)
        try:
            user = None if self._user is None else self._user.uid
            await self._mender.before_start(await orphans.clear(self._state_dir, self._port, user))
            orphans.write(self._state_dir, orphans.Record(run))
            child = spawn(
                confined(self._command, self._user),
                workspace=self._workspace,
                environ=child_environment.for_child(self._environ, run, self._user),
                run=run,
                hear=self._hear,
                end_all=end_all(self._user),
            )
        except AgentError as error:
            self._post(LaunchFailed(str(error), self._clock.chance(), self._mender.did_not_start(error)))
            return
        self._child = child
        self._post(Spawned(child.pid))
        self._attending = tasks.create_task(self._attend(child, session))
        try:
            orphans.write(self._state_dir, orphans.record_of(run, child.pid))
        except DiskError as error:
            log.warning("dev_server.record_incomplete", error=str(error))

    def _hear(self, stream: Stream, line: str) -> None:
        self.logs.add(line)
        self._mender.heard(line)
        if line and self._allowance.take(self._clock.monotonic()):
            if left_out := self._allowance.left_out():
                log.warning("dev_server.lines_left_out", count=left_out)
            log.info("dev_server.line", stream=stream, text=line)

    async def _attend(self, child: Child, session: aiohttp.ClientSession) -> None:
        """Everything that lasts as long as the process does."""
        async with asyncio.TaskGroup() as watches:
            watching = (
                watches.create_task(self._watch(child, session)),
                watches.create_task(self._measure(child)),
                watches.create_task(self._mender.watch(child.pid, session, self._glance)),
            )
            status = await child.gone()
            for task in watching:
                task.cancel()
        verdict = self._diagnose(status)
        # One that was killed had no time to say why, and of one that is being repaired the reason is known better.
        words = child.last_words() if status > 0 and verdict.plan is None else ""
        self._post(Exited(verdict.why, self._clock.chance(), words, verdict.outside))

    def _diagnose(self, status: int) -> Verdict:
        match self._state:
            case Ending(crashed=True, why=why):
                return self._mender.died(why, unanswered=True)
            case Ending() | Stopping():
                return Verdict(describe(status))  # it was told to, and that is all there is to say
            case _:
                return self._mender.died(describe(status), unanswered=False)

    def _glance(self) -> Glance:
        return Glance(isinstance(self._state, Ready), self._compile.compiling, self._sample)

    async def _watch(self, child: Child, session: aiohttp.ClientSession) -> None:
        await probe.answered(session, self._port)
        self._post(Answered())
        self._measure_now.set()
        async with asyncio.TaskGroup() as watches:
            watches.create_task(hmr.listen(session, self._port, self._read_frame, self._socket_dropped))
            watches.create_task(self._look(child, probe.Liveness(session, self._port)))

    async def _look(self, child: Child, liveness: probe.Liveness) -> None:
        sampler = Sampler(child.pid)
        while True:
            alive = await liveness.alive()
            if alive:
                self._post(Answered())
            else:
                sample = await self._take(sampler, with_pss=False)
                self._post(Silent(busy=self._compile.compiling or sample.cpu >= BUSY_CORES))
            await pause(ALIVE_EVERY if alive else SILENT_EVERY, self._look_now)

    async def _measure(self, child: Child) -> None:
        sampler = Sampler(child.pid)
        for number in count():
            self._sample = await self._take(sampler, with_pss=number % PSS_EVERY == 1)  # not of a newborn
            self._tell()
            await pause(SAMPLE_EVERY, self._measure_now)

    async def _take(self, sampler: Sampler, *, with_pss: bool) -> Sample:
        return await asyncio.to_thread(sampler.take, self._clock.monotonic(), with_pss=with_pss)

    def _socket_dropped(self) -> None:
        self._look_now.set()
        self._compile = replace(self._compile, compiling=False)
        self._tell()

    def _read_frame(self, frame: str) -> None:
        self._compile = frames.read(frame, self._compile, self._exists, str(self._workspace))
        self._tell()
