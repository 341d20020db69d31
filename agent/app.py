"""Builds all rooms, runs them concurrently, and stops them in order.

The only module that imports all rooms. It passes callables of one room to another: read `Agent.__init__` to see what is
connected to what. `run` is start, run the rooms, stop.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog

from agent import __version__
from agent.admin.server import Actions, Admin
from agent.app_files.reader import AppFiles
from agent.app_paths import relative_to
from agent.backend import session
from agent.backend.credential import credential
from agent.clock import Clock, rfc3339
from agent.config import Settings
from agent.devserver.import_spelling import Spelling
from agent.devserver.repair.memory_reader import MemoryReader
from agent.devserver.supervisor import Supervisor
from agent.errors import ConfigError, MachineError, Occupied
from agent.gateway.server import Gateway
from agent.isolation import child_environment
from agent.isolation.user import choose_user, prepare_user
from agent.packages.installer import PackageInstaller
from agent.packages.run import Limits
from agent.report.reporter import Reporter
from agent.sleep.controller import SleepController
from agent.sleep.facts import work
from agent.sleep.fly_api import FlySocket
from agent.sleep.idle_clock import ActivityKind
from agent.sleep.resume import ResumeDetector
from agent.status import Applied, Problem, Snapshot, Source, Traffic
from agent.status_board import StatusBoard
from agent.sync.disk.store import Disk
from agent.sync.loop import Sync, Timing
from agent.sync.protocol.client import Backend

STEP_SECONDS = 0.6
"""For one step of the stop. All of it may take 2 s, of which ending the dev server may need 1.3 s."""

log = structlog.get_logger()


class Agent:
    """One agent, created inside a running event loop."""

    _sleep: SleepController  # created after the gateway, which reports activity to it

    def __init__(self, settings: Settings, *, clock: Clock, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._clock = clock
        started = rfc3339(clock.wall())
        self._isolation = choose_user(settings, environ)
        user = self._isolation.user
        first = Snapshot(settings.app_id, settings.machine, started, __version__, isolation=self._isolation.facts)
        workspace = settings.workspace
        self.board = StatusBoard(first, relative_to([str(workspace), os.path.realpath(workspace)]))
        self._session = session.open_session(credential(settings, clock, FlySocket), clock)

        self._dev_server = Supervisor(
            command=settings.dev_command,
            app_dir=settings.app_dir,
            workspace=settings.workspace,
            state_dir=settings.state_dir,
            port=settings.dev_port,
            clock=clock,
            publish=self.board.dev_server,
            problems=self._publish_problems,
            environ=environ,
            user=user,
            traffic=self._traffic,
        )
        self._spelling = Spelling(settings.workspace)
        self._app_files = AppFiles(
            workspace=settings.workspace,
            environ=child_environment.for_child(environ, "", user).keys(),
            publish=self.board.files,
        )
        self._dependencies = PackageInstaller(
            workspace=settings.workspace,
            state_dir=settings.state_dir,
            environ=environ,
            clock=clock,
            server=self._dev_server,
            on_line=self._dev_server.logs.add,
            publish=self.board.install,
            problems=self.board.problems,
            limits=Limits(memory=_most_of_memory(environ)),
            user=user,
        )
        self._sync = Sync(
            backend=Backend(self._session, address=self._address, clock=clock),
            disk=Disk(
                workspace=settings.workspace,
                state_dir=settings.state_dir,
                app=settings.app_id,
                api=settings.api_url,
                stamp=lambda: rfc3339(clock.wall()).replace(":", ""),
                owner=(user.uid, user.gid) if user else None,
            ),
            timing=Timing(settings.poll_interval, settings.long_poll_wait),
            clock=clock,
            publish=self.board.sync,
            problems=lambda problems: self.board.problems("sync", problems),
            on_applied=self._applied,
            packages=self._dependencies,
            on_full=self._dev_server.free_space,
        )
        self._gateway = Gateway(
            board=self.board,
            logs=self._dev_server.logs,
            dev_port=settings.dev_port,
            clock=clock,
            on_activity=self._record_activity,
        )
        self._sleep = SleepController(
            mode=settings.sleep_mode,
            timeout=settings.idle_timeout,
            board=self.board,
            gateway=self._gateway,
            clock=clock,
            work=work,
            suspend=self._suspend,
        )
        self._reporter = Reporter(
            board=self.board,
            session=self._session,
            url=self._address("activity"),
            clock=clock,
            on_editor_activity=self._sleep.record_editor_use,
        )
        self._admin = Admin(
            board=self.board,
            key=settings.api_key,
            app_user=user.uid if user else None,
            logs=self._dev_server.logs,
            actions=Actions(
                sync=self._sync.poll_now, restart=self._dev_server.restart, sleep=self._sleep.request_sleep
            ),
            clock=clock,
        )
        self._resume = ResumeDetector(clock=clock, redial=self.redial, resumed=self._sleep.resumed)

    async def run(self) -> None:
        """Run until a signal. A ConfigError is raised before anything is started."""
        stop = asyncio.Event()
        with _lock(self._settings.state_dir), _signals(stop, self._force):
            try:
                await self._start()
                await self._run_rooms(stop)
            finally:
                await self._stop()

    async def redial(self) -> None:
        """Replace all connections after a resume: they may be dead although they look open."""
        self._gateway.drop_idle_connections()
        self._sync.poll_now()  # before the session, so that its held request ends as interrupted and not as failed
        await self._session.redial()

    async def _start(self) -> None:
        settings = self._settings
        prepare_user(self._isolation, settings)
        await self._admin.start(settings.agent_port)
        await self._gateway.start(settings.port)
        await self._sync.open()
        if not self._sync.has_set:
            self._dev_server.expect_files()
        log.info(
            "agent.started",
            app=settings.app_id,
            api=settings.api_url,
            workspace=str(settings.workspace),
            port=settings.port,
            agent_port=settings.agent_port,
            version=__version__,
        )
        danger = self._isolation.root and self._isolation.user is None
        (log.warning if danger else log.info)("agent.isolation", reason=self._isolation.reason)

    async def _run_rooms(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            sync = group.create_task(self._sync.run(), name="sync")
            dev_server = group.create_task(self._dev_server.run(), name="dev server")
            reporter = group.create_task(self._reporter.run(), name="reporter")
            resume = group.create_task(self._resume.run(), name="resume")
            app_files = group.create_task(self._app_files.run(), name="app files")
            sleep = group.create_task(self._sleep_then(stop), name="sleep")
            await stop.wait()
            if sleep.done():
                # From here on a request finds no listener, so that the proxy starts the machine again for it.
                await self._gateway.stop()
            else:
                sleep.cancel()
                self.board.awake()
            log.info("agent.stopping")
            self.board.stopping()
            sync.cancel()  # a burst that has begun is finished first
            reporter.cancel()
            resume.cancel()
            app_files.cancel()
            await self._dev_server.stop()
            dev_server.cancel()

    async def _sleep_then(self, stop: asyncio.Event) -> None:
        await self._sleep.run()
        stop.set()

    async def _stop(self) -> None:
        """Send the last report; close gateway, admin port, disk and session. A failed step does not skip the next."""
        self.board.stopping()
        for step in (self._reporter.last, self._gateway.stop, self._admin.stop, self._sync.close, self._session.close):
            try:
                async with asyncio.timeout(STEP_SECONDS):
                    await step()
            except Exception:
                log.exception("agent.stop_step_failed", step=step.__qualname__)
        log.info("agent.stopped")

    def _traffic(self) -> Traffic:
        return self._gateway.traffic()  # created after the dev server's supervisor

    def _publish_problems(self, source: Source, problems: tuple[Problem, ...]) -> None:
        self.board.problems(source, tuple(map(self._spelling.explained, problems)))

    def _applied(self, applied: Applied) -> None:
        self._app_files.files_changed(applied)
        self._dev_server.files_changed(applied)
        self._sleep.record_edit(applied)

    async def _suspend(self) -> None:
        if self._settings.fly is None:
            raise MachineError("only a Fly machine can be suspended, and FLY_APP_NAME and FLY_MACHINE_ID name none")
        await FlySocket(self._settings.fly).suspend()
        self._resume.suspending()

    def _record_activity(self, kind: ActivityKind, source: str, *, attended: bool) -> None:
        """Activity postpones the sleep, and restarts of the dev server that can wait."""
        self._sleep.record(kind, source, attended=attended)
        self._dev_server.visited()

    def _force(self) -> None:
        """After a second signal: kill all child processes and exit at once."""
        try:
            self._dependencies.end_now()
            self._dev_server.end_now()
        finally:
            os._exit(130)

    def _address(self, tail: str) -> str:
        return session.app_path(self._settings.api_url, self._settings.app_id, tail)


def _most_of_memory(environ: Mapping[str, str]) -> int | None:
    """The memory an installation may use, in bytes: three quarters of the limit, to stay clear of the OOM killer."""
    memory = MemoryReader(vm_megabytes=environ.get("FLY_VM_MEMORY_MB")).read()
    return None if memory is None else memory.limit * 3 // 4


@contextmanager
def _signals(stop: asyncio.Event, force: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM or SIGINT sets `stop`, the second calls `force`."""
    loop = asyncio.get_running_loop()
    first = True

    def on_signal() -> None:
        # `stop.is_set()` would be wrong here: going to sleep sets it without a signal.
        nonlocal first
        if not first:
            force()
        first = False
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            # Everything is closed; a signal during interpreter shutdown would only change the exit status.
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _lock(state_dir: Path) -> Iterator[None]:
    """Lock the state folder: two agents on one folder would overwrite each other's work."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"STATE_DIR is {str(state_dir)!r} (it takes a writable folder: {error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Occupied(
            f"STATE_DIR is {str(state_dir)!r} (another agent is running with it; end that one first)"
        ) from None
    try:
        yield
    finally:
        os.close(lock)
