"""Repairs one dev server: gathers evidence, asks `diagnosis` which repair is due, and does it.

Invariants:
  - What belongs to one process (its output, its memory use) is forgotten when the next one starts.
  - Repair actions are done while no process runs, one after the other. One that fails becomes the repair's outcome and
    stops nothing.

What must not live here: which repair is due (`diagnosis`), how often (`history`), the process itself (`supervisor`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog

from agent.clock import Clock, rfc3339
from agent.devserver.facts import RepairStatus
from agent.devserver.file_rules import Meaning
from agent.devserver.nextjs import log_symptoms
from agent.devserver.nextjs.config_watch import ConfigWatch
from agent.devserver.nextjs.log_symptoms import Symptoms
from agent.devserver.nextjs.soft_restart import soft_restart
from agent.devserver.repair import caches, diagnosis, inotify, next_lock
from agent.devserver.repair.diagnosis import Diagnosis, Sustained
from agent.devserver.repair.evidence import DiskSpace, ExitEvidence, RunningEvidence
from agent.devserver.repair.history import RepairAction, RepairHistory, RepairPlan
from agent.devserver.repair.memory_limit import Memory
from agent.devserver.repair.memory_reader import MemoryReader
from agent.errors import AgentError, DiskError, Occupied
from agent.isolation.user import DevUser
from agent.process.sample import Sample

log = structlog.get_logger()

CHECK_EVERY = 5.0
CHECK_OFTEN_EVERY = 1.0
YOUNG_SECONDS = 10.0
"""A new process is checked often: its first compilation takes memory faster than anything later, and it may be moved to
its control group only now.
"""
TIGHT_SHARE = 0.75
"""The share of the memory limit from which on it is checked often."""
OOM_EXIT_SECONDS = 10.0
"""The cgroup's oom_kill counter rises before the rest of the process tree exits. An exit within this many seconds of a
rise is attributed to the OOM killer.
"""
ACTIONS_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ProcessActivity:
    """What the supervisor knows of the process at this moment."""

    answering: bool
    compiling: bool
    sample: Sample


class RepairController:
    """Only for the loop's own thread. `ask` requests that the process be ended for a repair; `changed` is called when
    `status` has changed.
    """

    def __init__(
        self,
        *,
        workspace: Path,
        port: int,
        clock: Clock,
        vm_megabytes: str | None,
        user: DevUser | None,
        ask: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._folder = workspace
        """The folder that the dev server runs in; the workspace until it is known."""
        self._cache: tuple[str, ...] = caches.CACHE
        self._port = port
        self._clock = clock
        self._user = user
        self._ask = ask
        self._changed = changed
        self._memory_reader = MemoryReader(vm_megabytes=vm_megabytes)
        self._cores = len(os.sched_getaffinity(0))
        self._check_now = asyncio.Event()
        self._active_at = clock.monotonic()
        """When a page was last requested, or something compiled."""
        # Of the current process:
        self._symptoms = Symptoms()
        self._config_watch = ConfigWatch()
        self._fatal_seen = False
        self._warm = False
        """It started with a compiler cache on disk."""
        self._was_ready = False
        self._killed_at: float | None = None
        """When the kernel's count of OOM kills rose."""
        self._memory: Memory | None = None
        self._disk: DiskSpace | None = None
        self._unresolved: tuple[str, ...] = ()
        # Of the repairs:
        self._history = RepairHistory()
        self._started_at = 0.0
        self._due: tuple[RepairAction, ...] = ()
        self._acting = asyncio.Lock()

    @property
    def status(self) -> RepairStatus:
        return RepairStatus(self._memory, self._disk, self._history, self._unresolved)

    def set_folder(self, folder: Path, cache: tuple[str, ...]) -> None:
        """Set where the next dev server runs, and where its compiler's cache is below that folder."""
        self._folder, self._cache = folder, cache or caches.CACHE

    def read_line(self, line: str) -> str | None:
        """Read one line of output. Returns the error after which Next never answers, once per process."""
        before = self._symptoms
        now = self._clock.monotonic()
        self._symptoms = log_symptoms.after_line(line, before, now)
        self._config_watch = self._config_watch.after_line(line, now)
        if (self._symptoms.flags, self._symptoms.panics) != (before.flags, before.panics):
            self._check_now.set()  # at most once per second, because panics are counted that way
        if self._fatal_seen:
            return None
        fatal = log_symptoms.fatal_error(line)
        self._fatal_seen = fatal is not None
        return fatal

    def note_activity(self) -> None:
        """A page was requested, or something compiles: a visitor would notice a restart now."""
        self._active_at = self._clock.monotonic()

    def files_changed(self, meaning: Meaning) -> None:
        if meaning == "config":
            self._config_watch = self._config_watch.changed(self._clock.monotonic())

    def free_space(self, why: str) -> bool:
        """Start a repair that removes the caches, for a caller that could not write. False if there are none, or if
        that was done recently.
        """
        plan = diagnosis.free_space(why)
        if not caches.is_warm(self._folder, self._cache) or not self._history.allows(plan, self._clock.monotonic()):
            return False
        self._start(plan)
        self._ask(plan.why)
        return True

    async def repair_now(self) -> None:
        """Do the due actions while no process runs and none is being started."""
        if await self._run_actions():
            self._finish("done, while no dev server was running")
        self._changed()

    async def before_start(self, ended: tuple[str, ...]) -> None:
        """Do the due actions before a process starts. `ended`: the orphans that the launch has ended."""
        if ended:
            self._start(diagnosis.ended_orphans(", ".join(ended)))
        await self._run_actions()
        self._symptoms, self._was_ready, self._unresolved = Symptoms(), False, ()
        self._fatal_seen = False
        self._config_watch = ConfigWatch()
        self._warm = await asyncio.to_thread(caches.is_warm, self._folder, self._cache)
        self._memory = await asyncio.to_thread(self._memory_reader.read)
        self._killed_at = None

    def became_ready(self) -> None:
        self._was_ready = True
        self._finish(f"ready after {self._clock.monotonic() - self._started_at:.1f} s")

    def launch_failed(self, error: AgentError) -> bool:
        """Return whether the cause is outside the app. A full disk starts a repair."""
        self._finish(f"did not help: {error}")
        disk = caches.fullest(self._folder) if isinstance(error, DiskError) else None
        if disk is None or not disk.full:
            return isinstance(error, Occupied)
        self.free_space(str(disk))
        return True

    def diagnose_exit(self, why: str, *, unanswered: bool) -> Diagnosis:
        """Why the process exited, if that was not asked for. `unanswered`: it was ended for not answering."""
        now = self._clock.monotonic()
        self._note_kill(self._memory_reader.read_again(), now)
        flags = self._symptoms.flags
        evidence = ExitEvidence(
            why,
            self._symptoms,
            killed=self._killed_at is not None and now - self._killed_at < OOM_EXIT_SECONDS,
            warm=self._warm,
            unanswered=unanswered and not self._was_ready,
            memory=self._memory,
            disk=caches.fullest(self._folder) if "disk_full" in flags else None,
            holder=next_lock.lock_holder(self._folder) if "lock_held" in flags else None,
        )
        found = diagnosis.diagnose_exit(evidence, self._history, now)
        if found.plan is None:
            self._finish(f"did not help: {found.why}")
        else:
            self._start(found.plan)
        return found

    async def watch(self, pid: int, session: aiohttp.ClientSession, activity: Callable[[], ProcessActivity]) -> None:
        """Check one process until it is asked to end, here or by a cancellation."""
        sustained, begun = Sustained(), self._clock.monotonic()
        while True:
            read = await asyncio.to_thread(self._memory_reader.read, pid)
            self._disk = await asyncio.to_thread(caches.fullest, self._folder)
            now = self._clock.monotonic()
            self._note_kill(read, now)
            evidence = self._evidence(activity())
            sustained = sustained.after(evidence, now)
            plan = diagnosis.due_repair(evidence, sustained, self._history, now)
            if plan is not None and await self._carry_out(plan, session):
                return
            unresolved = diagnosis.unresolved(evidence, self._history, now)
            if unresolved != self._unresolved:
                self._unresolved = unresolved
                self._changed()  # mere numbers are published with the next change
            tight = evidence.memory is not None and evidence.memory.share >= TIGHT_SHARE
            young = now - begun < YOUNG_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_OFTEN_EVERY if tight or young else CHECK_EVERY):
                    await self._check_now.wait()
            self._check_now.clear()

    def _evidence(self, activity: ProcessActivity) -> RunningEvidence:
        if activity.compiling:
            self.note_activity()
        return RunningEvidence(
            answering=activity.answering,
            quiet=self._clock.monotonic() - self._active_at >= diagnosis.QUIET_SECONDS,
            warm=self._warm,
            symptoms=self._symptoms,
            memory=self._memory,
            rss=activity.sample.rss,
            cpu=activity.sample.cpu,
            cores=self._cores,
            disk=self._disk,
            config_unseen=self._config_watch.is_unseen(self._clock.monotonic()),
        )

    async def _carry_out(self, plan: RepairPlan, session: aiohttp.ClientSession) -> bool:
        """Return whether the process was asked to end."""
        self._start(plan)
        self._changed()
        if plan.how == "soft restart" and await soft_restart(session, self._port):
            self.became_ready()
            return False
        if plan.kind == "watches" and not await self._run_actions():
            return False  # the limit could not be raised, so a restart would not help
        self._ask(plan.why)
        return True

    async def _run_actions(self) -> bool:
        """Do the due actions. Returns whether there were any and all succeeded."""
        async with self._acting:
            due, self._due = self._due, ()
            try:
                async with asyncio.timeout(ACTIONS_SECONDS):
                    for action in due:
                        await asyncio.to_thread(self._perform, action)
            except (AgentError, TimeoutError) as error:
                reason = str(error) or f"it took more than {ACTIONS_SECONDS:.0f} s"
                log.warning("dev_server.repair_failed", error=reason)
                self._finish(f"did not help: {reason}")
                return False
        return bool(due)

    def _perform(self, action: RepairAction) -> None:
        match action:
            case RepairAction.REMOVE_CACHE:
                caches.remove_compiler_cache(self._folder, self._cache)
            case RepairAction.REMOVE_ALL_CACHES:
                caches.remove_compiler_cache(self._folder, self._cache)
                if self._user is not None:
                    caches.remove_package_caches(self._user)
            case RepairAction.END_LOCK_HOLDER:
                next_lock.end_holder(self._folder)
            case RepairAction.RAISE_WATCH_LIMITS:
                inotify.raise_limits()

    def _start(self, plan: RepairPlan) -> None:
        self._started_at = self._clock.monotonic()
        self._history = self._history.with_started(plan, self._started_at, rfc3339(self._clock.wall()))
        self._due += plan.actions
        log.warning("dev_server.repair", kind=plan.kind, what=plan.what, why=plan.why)

    def _finish(self, outcome: str) -> None:
        before = self._history
        self._history = before.with_outcome(outcome)
        if self._history is not before:
            log.info("dev_server.repaired", what=before.entries[-1].what, outcome=outcome)

    def _note_kill(self, read: Memory | None, now: float) -> None:
        """Note when the kernel's kill count rose. Counts of two control groups are not comparable: the process may have
        been moved between the two readings.
        """
        before, self._memory = self._memory, read or self._memory
        if before is None or read is None or before.counter != read.counter:
            return
        if before.oom_kills is not None and read.oom_kills is not None and read.oom_kills > before.oom_kills:
            self._killed_at = now
