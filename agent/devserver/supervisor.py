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
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import structlog

from agent.clock import Clock
from agent.devserver import file_rules, lifecycle
from agent.devserver.app_watch import shown
from agent.devserver.command.app_command import why_ended
from agent.devserver.events import (
    Checked,
    Effect,
    Event,
    Exited,
    FatalLogged,
    FilesChanged,
    LaunchFailed,
    RepairAsked,
    RestartAsked,
    Spawned,
    StopAsked,
    Tick,
)
from agent.devserver.facts import Times, became_ready, facts, problems
from agent.devserver.health import Health
from agent.devserver.launch import Launch, Launcher
from agent.devserver.nextjs.hmr_messages import Compile
from agent.devserver.publishing import Publisher
from agent.devserver.repair.controller import Glance, Mender
from agent.devserver.repair.diagnosis import Verdict
from agent.devserver.states import (
    Ending,
    Launching,
    Ready,
    Serving,
    State,
    Stopped,
    Stopping,
    Waiting,
    deadline,
    initial_state,
)
from agent.errors import AgentError, DiskError
from agent.isolation.user import DevUser
from agent.process import orphans
from agent.process.child import Child, Stream, describe
from agent.process.output import Allowance, LogTail
from agent.process.sample import Sample
from agent.status import Applied, DevServerFacts, Problem, Source, Traffic

log = structlog.get_logger()

VACATE_SECONDS = 5.0  # SIGTERM, SIGKILL and the sweep take 1.5 s at most
HUNG_ROUTES_MOST = 20
STOP_SECONDS = 3.0  # the states of a stop take 1.5 s at most; over this something is broken and is not waited for


class Supervisor:
    """Keeps the app's dev server running. Only for the loop's own thread; `run` may be called once."""

    def __init__(
        self,
        *,
        command: tuple[str, ...] | None = None,
        app_dir: str | None = None,
        workspace: Path,
        state_dir: Path,
        port: int,
        clock: Clock,
        publish: Callable[[DevServerFacts], None],
        problems: Callable[[Source, tuple[Problem, ...]], None],
        environ: Mapping[str, str],
        user: DevUser | None = None,
        traffic: Callable[[], Traffic] = Traffic,
    ) -> None:
        """`command` and `app_dir`: what is run and where, if that is not for the app to say. `user`: who runs it, where
        that is not the agent's own user. `traffic`: the requests that wait for an answer.
        """
        self.logs = LogTail()
        self._allowance = Allowance()
        self._launcher = Launcher(
            workspace=workspace, port=port, environ=environ, command=command, asked=app_dir, user=user
        )
        self._launch: Launch | None = None
        """What runs, or ran last."""
        self._health: Health | None = None
        """Of the process that runs."""
        self._workspace = workspace
        self._state_dir = state_dir
        self._port = port
        self._clock = clock
        self._publisher = Publisher(publish, problems)
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
        self._state: State = initial_state(clock.monotonic())
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._child: Child | None = None
        self._launching: asyncio.Task[None] | None = None
        self._attending: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._times = Times()
        self._traffic = traffic
        self._hung_routes: tuple[str, ...] = ()
        self._routes = file_rules.Routes()
        self._synced = False
        self._expecting = False
        self._held: str | None = None
        self._moved = asyncio.Event()
        self._running = False
        self._over = asyncio.Event()

    def files_changed(self, applied: Applied) -> None:
        """A set is on disk, whole."""
        self._synced = True
        self._expecting = False
        self._hung_routes = ()
        launch = self._launch
        place = (launch.folder, launch.framework) if launch else ()
        asked = file_rules.consequence(applied.written, applied.deleted, *place)
        if asked.meaning != "restart" and self._child is not None:
            asked = file_rules.moved(self._routes, self._routes_now()) or asked
        self._mender.files_changed(asked.meaning)
        self._post(FilesChanged(asked.meaning, asked.why))
        if self._health is not None:
            self._health.look()
            self._health.app.files_changed(config=asked.meaning == "config")
        why = None if launch is None else self._launcher.outdated(launch, (*applied.written, *applied.deleted))
        if why is not None and isinstance(self._state, Serving):
            self._post(RestartAsked(why))

    def expect_files(self) -> None:
        """Start nothing before the first set: until then the workspace is the template, and no app."""
        self._expecting = True

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
            self._child = self._health = None
        if type(self._state) is not type(before):
            self._times = self._times.after(before, self._state, now=now, wall=self._clock.wall())
        if became_ready(before, self._state):
            self._mender.ready()
        if isinstance(self._state, Ending) and self._state.route and self._state.route not in self._hung_routes:
            self._hung_routes = (*self._hung_routes, self._state.route)[-HUNG_ROUTES_MOST:]
        return effects

    def _tell(self) -> None:
        state, care = self._state, replace(self._mender.care, hung_routes=self._hung_routes)
        compile_, app = self._compile, shown(self._launch, self._health.app if self._health else None)
        stuck = isinstance(state, Waiting) and self._synced and not self._held and state.missing == self._look()
        now = self._clock.monotonic()
        own = problems(state, care, synced=stuck, now=now, stranded=app.stranded)
        told = facts(state, self._times, compile_, self._sample, care, app=app, stuck=stuck)
        self._publisher.tell(told, own, compile_.errors)

    def _do(self, effect: Effect, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case Effect.CHECK:
                look = self._look()
                self._post(Checked(look if isinstance(look, str) else None))
            case Effect.LAUNCH:
                self._launching = tasks.create_task(self._start(session, tasks))
            case Effect.REPAIR:
                self._mending = tasks.create_task(self._mender.mend())
            case Effect.ABANDON:
                if self._launching is not None:
                    self._launching.cancel()
                if self._child is None:
                    self._post(LaunchFailed("the launch was abandoned", self._clock.chance()))
            case Effect.TERMINATE | Effect.KILL:
                if self._child is not None:  # it may have gone by itself in the meantime
                    (self._child.terminate if effect is Effect.TERMINATE else self._child.kill)()

    @property
    def _compile(self) -> Compile:
        return Compile() if self._health is None else self._health.compile

    @property
    def _sample(self) -> Sample:
        return Sample() if self._health is None else self._health.sample

    def _look(self) -> Launch | str:
        expected = "the app's files are on their way" if self._expecting else None
        return self._held or expected or self._launcher.look()

    def _routes_now(self) -> file_rules.Routes:
        if self._launch is None:
            return file_rules.Routes()
        return file_rules.routes(self._launch.framework, self._launch.folder, self._launcher.exists)

    async def _start(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        launch = self._look()
        if isinstance(launch, str):
            self._post(Checked(launch))
            return
        self._launch = launch
        self._mender.serves(self._workspace / launch.folder, launch.framework.cache)
        run = secrets.token_hex(16)
        try:
            user = None if self._user is None else self._user.uid
            await self._mender.before_start(await orphans.clear(self._state_dir, self._port, user))
            orphans.write(self._state_dir, orphans.Record(run))
            self._routes = self._routes_now()
            child = self._launcher.spawn(launch, run, self._hear)
        except AgentError as error:
            self._post(LaunchFailed(str(error), self._clock.chance(), self._mender.did_not_start(error)))
            return
        self._child = child
        self._health = Health(
            launch,
            self._launcher,
            workspace=self._workspace,
            port=self._port,
            pid=child.pid,
            clock=self._clock,
            post=self._post,
            changed=self._tell,
            traffic=self._traffic,
        )
        self._post(Spawned(child.pid))
        self._attending = tasks.create_task(self._attend(child, self._health, session))
        try:
            orphans.write(self._state_dir, orphans.record_of(run, child.pid))
        except DiskError as error:
            log.warning("dev_server.record_incomplete", error=str(error))

    def _hear(self, stream: Stream, line: str) -> None:
        self.logs.add(line)
        if fatal := self._mender.heard(line):
            self._post(FatalLogged(fatal))
        if self._health is not None:
            self._health.app.heard(line)
        if line and self._allowance.take(self._clock.monotonic()):
            if left_out := self._allowance.left_out():
                log.warning("dev_server.lines_left_out", count=left_out)
            log.info("dev_server.line", stream=stream, text=line)

    async def _attend(self, child: Child, health: Health, session: aiohttp.ClientSession) -> None:
        """Everything that lasts as long as the process does."""
        first_page = health.app.address.start not in self._hung_routes
        async with asyncio.TaskGroup() as watches:
            watching = (
                watches.create_task(health.watch(session, first_page=first_page)),
                watches.create_task(self._mender.watch(child.pid, session, self._glance)),
            )
            status = await child.gone()
            for task in watching:
                task.cancel()
        verdict = self._diagnose(status)
        # One that was killed had no time to say why, and of one that is being repaired the reason is known better.
        words = child.last_words() if status > 0 and verdict.plan is None else ""
        why = why_ended(verdict.why, words, health.app.launch.command, self._port)
        self._post(Exited(why, self._clock.chance(), words, verdict.outside, verdict.known))

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
