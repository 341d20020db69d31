"""The dev server's event loop: events come in, `lifecycle` decides, and the effects that it asks for are performed.

Invariants:
  - Events are handled one at a time, in order. `Exited` is the last event of a process: its checks are ended before it
    is posted, so no event of an earlier process is taken for one of the current.
  - When `run` ends, by a stop, a cancellation or a defect, no process is left behind. A first cancellation is treated
    as a stop, whose states have deadlines; a second one kills at once.

What must not live here: decisions. `lifecycle` decides which state follows, `file_rules` what a changed file means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import structlog

from agent.clock import Clock
from agent.devserver import file_rules, lifecycle
from agent.devserver.app_watch import app_facts
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
from agent.devserver.launch import Launch, Launcher
from agent.devserver.nextjs.hmr_messages import Compile
from agent.devserver.publishing import Publisher
from agent.devserver.repair.controller import RepairController
from agent.devserver.server_process import ServerProcess, Starter
from agent.devserver.start_gate import StartGate
from agent.devserver.states import (
    Ending,
    Launching,
    Serving,
    State,
    Stopped,
    Waiting,
    deadline,
    initial_state,
)
from agent.errors import AgentError
from agent.isolation.user import DevUser
from agent.process.child import Stream
from agent.process.output import LineRateLimit, LogTail
from agent.process.sample import Sample
from agent.status import Applied, DevServerFacts, Problem, Source, Traffic

log = structlog.get_logger()

VACATE_SECONDS = 5.0
"""SIGTERM, SIGKILL and the search for leftover processes take 1.5 s at most."""
HUNG_ROUTES_MOST = 20
STOP_SECONDS = 3.0
"""The states of a stop take 1.5 s at most. After this long something is broken, and is not waited for."""


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
        """`command` and `app_dir`: DEV_COMMAND and APP_DIR, if they are set. `user`: the user that runs the dev server,
        if it is not the agent's own. `traffic`: the requests that wait for a response.
        """
        self.logs = LogTail()
        self._log_limit = LineRateLimit()
        self._clock = clock
        self._publisher = Publisher(publish, problems)
        self._launcher = Launcher(
            workspace=workspace, port=port, environ=environ, command=command, app_dir_setting=app_dir, user=user
        )
        self._repairs = RepairController(
            workspace=workspace,
            port=port,
            clock=clock,
            vm_megabytes=environ.get("FLY_VM_MEMORY_MB"),
            user=user,
            ask=lambda why: self._post(RepairAsked(why)),
            changed=self._publish,
        )
        self._starter = Starter(
            self._launcher,
            self._repairs,
            workspace=workspace,
            state_dir=state_dir,
            port=port,
            user=user,
            clock=clock,
            traffic=traffic,
            post=self._post,
            changed=self._publish,
        )
        # The state machine:
        self._state: State = initial_state(clock.monotonic())
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._times = Times()
        self._gate = StartGate()
        # What runs, or ran last:
        self._launch: Launch | None = None
        self._server: ServerProcess | None = None
        """None while no process exists."""
        self._routes = file_rules.Routes()
        self._hung_routes: tuple[str, ...] = ()
        # The tasks of `run`, and what its callers wait for:
        self._launching: asyncio.Task[None] | None = None
        self._attending: asyncio.Task[None] | None = None
        self._repairing: asyncio.Task[None] | None = None
        self._transitioned = asyncio.Event()
        self._running = False
        self._ended = asyncio.Event()

    def files_changed(self, applied: Applied) -> None:
        """A set of files was applied to the workspace completely."""
        self._gate.files_arrived()
        self._hung_routes = ()
        launch = self._launch
        place = (launch.folder, launch.framework) if launch else ()
        asked = file_rules.consequence(applied.written, applied.deleted, *place)
        if asked.meaning != "restart" and self._server is not None:
            now = self._routes_now()
            asked = file_rules.moved(self._routes, now) or asked
            self._routes = file_rules.still_watched(self._routes, now)
        self._repairs.files_changed(asked.meaning)
        self._post(FilesChanged(asked.meaning, asked.why))
        if self._server is not None:
            self._server.health.probe_now()
            self._server.health.app.files_changed(config=asked.meaning == "config")
        why = None if launch is None else self._launcher.why_outdated(launch, (*applied.written, *applied.deleted))
        if why is not None and isinstance(self._state, Serving):
            self._post(RestartAsked(why))

    def expect_files(self) -> None:
        """Start nothing before the first set of files: until then the workspace holds only the template."""
        self._gate.expecting = True

    def restart(self, reason: str) -> None:
        """End the server and start it again with a new crash budget, also if it had given up."""
        self._post(RestartAsked(reason))

    def visited(self) -> None:
        """A page was requested, so repairs that can wait are put off."""
        self._repairs.note_activity()

    def free_space(self, why: str) -> bool:
        """Have the caches removed, because something could not be written. False if that would not help now."""
        return self._repairs.free_space(why)

    def hold(self, why: str) -> None:
        """Start nothing until `release`. A running server stays. `why` completes "the dev server waits: …"."""
        self._gate.held = why
        if isinstance(self._state, Waiting):  # show the new reason
            self._post(FilesChanged("packages"))

    async def vacate(self, why: str) -> None:
        """Hold, and end the server. Returns when no process runs, or after VACATE_SECONDS."""
        self._gate.held = self._gate.held or why
        with suppress(TimeoutError):
            async with asyncio.timeout(VACATE_SECONDS):
                while self._running and not isinstance(self._state, Waiting | Stopped):
                    self._transitioned.clear()
                    if not isinstance(self._state, Launching | Ending):  # these lead to a state that is asked then
                        self._post(RestartAsked(why))
                    await self._transitioned.wait()

    async def make_room(self, why: str) -> bool:
        """As `free_space`, for a caller that holds: returns when no process runs and the caches are gone."""
        if not self._repairs.free_space(why):
            return False
        await self.vacate(why)
        await self._repairs.repair_now()
        return True

    def release(self) -> None:
        """End a hold, and check at once whether the server can start."""
        if self._gate.held is not None:
            self._gate.held = None
            self._post(FilesChanged("packages"))

    async def stop(self) -> None:
        """End the server and then `run`. Returns when both have ended; at once if `run` was not called."""
        self._post(StopAsked())
        if self._running:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._ended.wait()
            except TimeoutError:
                log.warning("dev_server.stop_overdue", seconds=STOP_SECONDS)  # the end of `run` still kills

    def end_now(self) -> None:
        """The last resort: kill every process of the server before returning."""
        if self._server is not None:
            self._server.child.end_now()

    async def run(self) -> None:
        self._running = True
        try:
            connector = aiohttp.TCPConnector(force_close=True)  # a reused connection could reach an earlier server
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
                asyncio.TaskGroup() as tasks,
            ):
                await self._handle_events(session, tasks)
        finally:
            self.end_now()
            self._running = False
            self._ended.set()

    async def _handle_events(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        cancelled: asyncio.CancelledError | None = None
        self._publish()
        while not isinstance(self._state, Stopped):
            try:
                event = await self._next_event()
            except asyncio.CancelledError as error:
                if cancelled is not None:
                    raise
                cancelled = error
                event = StopAsked()
            for effect in self._transition(event):
                self._perform(effect, session, tasks)
            self._publish()
        for task in (self._launching, self._attending, self._repairing):
            if task is not None:
                task.cancel()
        if cancelled is not None:
            raise cancelled

    async def _next_event(self) -> Event:
        """The next event, or a Tick at the state's deadline."""
        at = deadline(self._state)
        try:
            async with asyncio.timeout(None if at is None else max(0.0, at - self._clock.monotonic())):
                return await self._events.get()
        except TimeoutError:
            return Tick()

    def _post(self, event: Event) -> None:
        self._events.put_nowait(event)

    def _transition(self, event: Event) -> tuple[Effect, ...]:
        before, now = self._state, self._clock.monotonic()
        self._state, effects = lifecycle.step(before, event, now)
        self._transitioned.set()
        if isinstance(event, Exited):
            self._server = None
        if type(self._state) is not type(before):
            self._times = self._times.after(before, self._state, now=now, wall=self._clock.wall())
        if became_ready(before, self._state):
            self._repairs.became_ready()
        if isinstance(self._state, Ending) and self._state.route and self._state.route not in self._hung_routes:
            self._hung_routes = (*self._hung_routes, self._state.route)[-HUNG_ROUTES_MOST:]
        return effects

    def _publish(self) -> None:
        state, health = self._state, self._server.health if self._server else None
        repairs = replace(self._repairs.status, hung_routes=self._hung_routes)
        app = app_facts(self._launch, health.app if health else None)
        compile_ = health.compile if health else Compile()
        sample = health.sample if health else Sample()
        waits = (
            isinstance(state, Waiting)
            and self._gate.synced
            and not self._gate.held
            and state.missing == self._find_launch()
        )
        now = self._clock.monotonic()
        own = problems(state, repairs, waits_for_files=waits, now=now, wrong_port=app.wrong_port)
        current = facts(state, self._times, compile_, sample, repairs, app=app, waits_for_files=waits)
        self._publisher.update(current, own, compile_.errors)

    def _perform(self, effect: Effect, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case Effect.CHECK:
                found = self._find_launch()
                self._post(Checked(found if isinstance(found, str) else None))
            case Effect.LAUNCH:
                self._launching = tasks.create_task(self._start(session, tasks))
            case Effect.REPAIR:
                self._repairing = tasks.create_task(self._repairs.repair_now())
            case Effect.ABANDON:
                if self._launching is not None:
                    self._launching.cancel()
                if self._server is None:
                    self._post(LaunchFailed("the launch was cancelled", self._clock.chance()))
            case Effect.TERMINATE | Effect.KILL:
                if self._server is not None:  # it may have exited meanwhile
                    child = self._server.child
                    (child.terminate if effect is Effect.TERMINATE else child.kill)()

    def _find_launch(self) -> Launch | str:
        """What would be run now, or one sentence that says what it waits for."""
        return self._gate.closed or self._launcher.find_launch()

    def _routes_now(self) -> file_rules.Routes:
        if self._launch is None:
            return file_rules.Routes()
        return file_rules.routes(self._launch.framework, self._launch.folder, self._launcher.exists)

    async def _start(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        launch = self._find_launch()
        if isinstance(launch, str):
            self._post(Checked(launch))
            return
        self._launch = launch
        try:
            run = await self._starter.prepare(launch)
            self._routes = self._routes_now()
            server = self._starter.spawn(launch, run, self._on_line, lambda: self._state)
        except AgentError as error:
            self._post(LaunchFailed(str(error), self._clock.chance(), self._repairs.launch_failed(error)))
            return
        self._server = server
        self._post(Spawned(server.child.pid))
        self._attending = tasks.create_task(self._attend(server, session))

    async def _attend(self, server: ServerProcess, session: aiohttp.ClientSession) -> None:
        first_page = server.health.app.address.start not in self._hung_routes
        self._post(await server.attend(session, first_page=first_page))

    def _on_line(self, stream: Stream, line: str) -> None:
        self.logs.add(line)
        if fatal := self._repairs.read_line(line):
            self._post(FatalLogged(fatal))
        if self._server is not None:
            self._server.health.app.read_line(line)
        if line and self._log_limit.allows(self._clock.monotonic()):
            if dropped := self._log_limit.take_dropped():
                log.warning("dev_server.lines_left_out", count=dropped)
            log.info("dev_server.line", stream=stream, text=line)
