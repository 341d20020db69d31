"""One dev server process: how it is started, and what is watched until it is gone.

Invariants:
  - `Starter.prepare` ends what an earlier run left behind before the next process can exist.
  - `ServerProcess.attend` returns once, with the report of the exit, and ends its own checks first.

What must not live here: when a process is started or ended (`supervisor`, `lifecycle`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import aiohttp
import structlog

from agent.clock import Clock
from agent.devserver.command.app_command import why_ended
from agent.devserver.events import Event, Exited
from agent.devserver.health import Health
from agent.devserver.launch import Launch, Launcher
from agent.devserver.repair.controller import ProcessActivity, RepairController
from agent.devserver.repair.diagnosis import Diagnosis
from agent.devserver.states import Ending, Ready, State, Stopping
from agent.errors import DiskError
from agent.isolation.user import DevUser
from agent.process import orphans
from agent.process.child import Child, OnLine, describe_exit
from agent.status import Traffic

log = structlog.get_logger()


class Starter:
    """Starts one process after the other. `post` takes events, `changed` is called when facts have changed."""

    def __init__(
        self,
        launcher: Launcher,
        repairs: RepairController,
        *,
        workspace: Path,
        state_dir: Path,
        port: int,
        user: DevUser | None,
        clock: Clock,
        traffic: Callable[[], Traffic],
        post: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self._launcher = launcher
        self._repairs = repairs
        self._workspace = workspace
        self._state_dir = state_dir
        self._port = port
        self._user = user
        self._clock = clock
        self._traffic = traffic
        self._post = post
        self._changed = changed

    async def prepare(self, launch: Launch) -> str:
        """End orphans, do the due repairs and record the run. Returns the run's id. Raises AgentError."""
        self._repairs.set_folder(self._workspace / launch.folder, launch.framework.cache)
        run = secrets.token_hex(16)
        uid = None if self._user is None else self._user.uid
        await self._repairs.before_start(await orphans.free_port(self._state_dir, self._port, uid))
        orphans.write_record(self._state_dir, orphans.RunRecord(run))
        return run

    def spawn(self, launch: Launch, run: str, on_line: OnLine, state: Callable[[], State]) -> ServerProcess:
        """Start the process. Does not await, so that no cancellation comes between it and its owner. Raises AgentError.

        `state`: the supervisor's current one.
        """
        child = self._launcher.spawn(launch, run, on_line)
        health = Health(
            launch,
            self._launcher,
            workspace=self._workspace,
            port=self._port,
            pid=child.pid,
            clock=self._clock,
            post=self._post,
            changed=self._changed,
            traffic=self._traffic,
        )
        try:
            orphans.write_record(self._state_dir, orphans.record_of(run, child.pid))
        except DiskError as error:
            log.warning("dev_server.record_incomplete", error=str(error))
        return ServerProcess(child, health, self._repairs, port=self._port, clock=self._clock, state=state)


class ServerProcess:
    """A process that exists. Only for the loop's own thread."""

    def __init__(
        self,
        child: Child,
        health: Health,
        repairs: RepairController,
        *,
        port: int,
        clock: Clock,
        state: Callable[[], State],
    ) -> None:
        self.child = child
        self.health = health
        self._repairs = repairs
        self._port = port
        self._clock = clock
        self._state = state

    async def attend(self, session: aiohttp.ClientSession, *, first_page: bool) -> Exited:
        """Watch its health and its resources until it is gone. `first_page`: see Health.watch."""
        async with asyncio.TaskGroup() as checks:
            running = (
                checks.create_task(self.health.watch(session, first_page=first_page)),
                checks.create_task(self._repairs.watch(self.child.pid, session, self._activity)),
            )
            status = await self.child.wait_gone()
            for task in running:
                task.cancel()
        found = self._diagnose(status)
        # A killed process had no time to log why, and a repair's reason is more exact than the log.
        stderr = self.child.stderr_tail() if status > 0 and found.plan is None else ""
        why = why_ended(found.why, stderr, self.health.app.launch.command, self._port)
        return Exited(why, self._clock.chance(), stderr, found.outside, found.config_error)

    def _diagnose(self, status: int) -> Diagnosis:
        match self._state():
            case Ending(crashed=True, why=why):
                return self._repairs.diagnose_exit(why, unanswered=True)
            case Ending() | Stopping():
                return Diagnosis(describe_exit(status))  # it was asked to exit
            case _:
                return self._repairs.diagnose_exit(describe_exit(status), unanswered=False)

    def _activity(self) -> ProcessActivity:
        health = self.health
        return ProcessActivity(isinstance(self._state(), Ready), health.compile.compiling, health.sample)
