"""Looks after one dev server: watches what it stands on, has `repair` decide, and does what is decided.

Invariants:
  - What belongs to a process (its words, its use of memory) is forgotten at the start of the next.
  - Cures are done while there is no process, one after the other; what one cannot do is the repair's outcome and
    stops nothing.

What must not live here: which repair is due (`repair`), how often (`treatment`), the process itself (`supervisor`).
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
from agent.devserver.facts import Care
from agent.devserver.file_rules import Meaning
from agent.devserver.nextjs import log_symptoms
from agent.devserver.nextjs.config_watch import Configuration
from agent.devserver.nextjs.log_symptoms import Symptoms
from agent.devserver.nextjs.soft_restart import recycle
from agent.devserver.repair import caches, diagnosis, inotify, next_lock
from agent.devserver.repair.diagnosis import Death, Look, Verdict, Vigil
from agent.devserver.repair.history import Cure, Disk, History, Plan
from agent.devserver.repair.memory_limit import Memory
from agent.devserver.repair.memory_reader import Meter
from agent.errors import AgentError, DiskError, Occupied
from agent.isolation.user import DevUser
from agent.process.sample import Sample

log = structlog.get_logger()

LOOK_EVERY = 5.0
YOUNG_SECONDS = 10.0
"""The first compilation takes memory faster than anything later, and a process may be moved to its group only now."""
LOOK_OFTEN = 1.0
TIGHT = 0.75
"""The share of the memory from which on it is looked at often."""
KILL_SECONDS = 10.0
"""A kill by the kernel is seen by its count, and the end of what is left without the victim may follow the count."""
CURE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Glance:
    """What the supervisor knows of the process at this moment."""

    answering: bool
    compiling: bool
    sample: Sample


class Mender:
    """Only for the loop's own thread. `ask` ends the process for a repair's sake; `changed` tells of new facts."""

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
        self._workspace = workspace
        """The folder that the dev server runs in, once one does."""
        self._cache: tuple[str, ...] = caches.CACHE
        self._port = port
        self._clock = clock
        self._user = user
        self._ask = ask
        self._changed = changed
        self._meter = Meter(vm_megabytes=vm_megabytes)
        self._cores = len(os.sched_getaffinity(0))
        self._symptoms = Symptoms()
        self._configuration = Configuration()
        self._gave_up = False
        self._warm = False
        self._was_ready = False
        self._killed_at: float | None = None
        self._history = History()
        self._begun_at = 0.0
        self._due: tuple[Cure, ...] = ()
        self._curing = asyncio.Lock()
        self._stirred_at = clock.monotonic()
        self._memory: Memory | None = None
        self._disk: Disk | None = None
        self._complaints: tuple[str, ...] = ()
        self._look_now = asyncio.Event()

    @property
    def care(self) -> Care:
        return Care(self._memory, self._disk, self._history, self._complaints)

    def serves(self, folder: Path, cache: tuple[str, ...]) -> None:
        """Where the next dev server runs, and where its compiler's cache is in that folder."""
        self._workspace, self._cache = folder, cache or caches.CACHE

    def heard(self, line: str) -> str | None:
        """Return what the line says after which a starting server never answers; once for each process."""
        before = self._symptoms
        now = self._clock.monotonic()
        self._symptoms = log_symptoms.heard(line, before, now)
        self._configuration = self._configuration.heard(line, now)
        if (self._symptoms.flags, self._symptoms.panics) != (before.flags, before.panics):
            self._look_now.set()  # once a second at most, whatever is printed
        if self._gave_up:
            return None
        fatal = log_symptoms.fatal(line)
        self._gave_up = fatal is not None
        return fatal

    def stirred(self) -> None:
        """Somebody asked for a page, or something compiles: a restart would be felt now."""
        self._stirred_at = self._clock.monotonic()

    def files_changed(self, meaning: Meaning) -> None:
        if meaning == "config":
            self._configuration = self._configuration.changed(self._clock.monotonic())

    def free_space(self, why: str) -> bool:
        """Have the caches removed, for whoever could not write. False: there are none, or it was done just now."""
        plan = diagnosis.asked_for_space(why)
        if not caches.is_warm(self._workspace, self._cache) or not self._history.allows(plan, self._clock.monotonic()):
            return False
        self._begin(plan)
        self._ask(plan.why)
        return True

    async def mend(self) -> None:
        """Do what is due while there is no process to do it for."""
        if await self._cure():
            self._settle("done, while no dev server was running")
        self._changed()

    async def before_start(self, ended: tuple[str, ...]) -> None:
        """Do what is due. `ended`: what the launch found to be left of an earlier run."""
        if ended:
            self._begin(diagnosis.ended_orphans(", ".join(ended)))
        await self._cure()
        self._symptoms, self._was_ready, self._complaints = Symptoms(), False, ()
        self._gave_up = False
        self._configuration = Configuration()
        self._warm = await asyncio.to_thread(caches.is_warm, self._workspace, self._cache)
        self._memory = await asyncio.to_thread(self._meter.read)
        self._killed_at = None

    def ready(self) -> None:
        self._was_ready = True
        self._settle(f"ready after {self._clock.monotonic() - self._begun_at:.1f} s")

    def did_not_start(self, error: AgentError) -> bool:
        """Return whether the reason lies outside of the app."""
        self._settle(f"did not help: {error}")
        disk = caches.fullest(self._workspace) if isinstance(error, DiskError) else None
        if disk is None or not disk.full:
            return isinstance(error, Occupied)
        self.free_space(str(disk))
        return True

    def died(self, why: str, *, unanswered: bool) -> Verdict:
        """Why a process that is gone, and was not asked to be, really died. `unanswered`: it was ended for that."""
        now = self._clock.monotonic()
        self._notice_kill(self._meter.again(), now)
        flags = self._symptoms.flags
        death = Death(
            why,
            self._symptoms,
            killed=self._killed_at is not None and now - self._killed_at < KILL_SECONDS,
            warm=self._warm,
            unanswered=unanswered and not self._was_ready,
            memory=self._memory,
            disk=caches.fullest(self._workspace) if "disk_full" in flags else None,
            holder=next_lock.holder(self._workspace) if "lock_held" in flags else None,
        )
        verdict = diagnosis.after_death(death, self._history, now)
        if verdict.plan is None:
            self._settle(f"did not help: {verdict.why}")
        else:
            self._begin(verdict.plan)
        return verdict

    async def watch(self, pid: int, session: aiohttp.ClientSession, glance: Callable[[], Glance]) -> None:
        """Until the process is asked to end, by us or by a cancellation."""
        vigil, begun = Vigil(), self._clock.monotonic()
        while True:
            read = await asyncio.to_thread(self._meter.read, pid)
            self._disk = await asyncio.to_thread(caches.fullest, self._workspace)
            now = self._clock.monotonic()
            self._notice_kill(read, now)
            look = self._look(glance())
            vigil = vigil.after(look, now)
            plan = diagnosis.while_alive(look, vigil, self._history, now)
            if plan is not None and await self._carry_out(plan, session):
                return
            complaints = diagnosis.complaints(look, self._history, now)
            if complaints != self._complaints:
                self._complaints = complaints
                self._changed()  # mere numbers go along with the next news
            tight = look.memory is not None and look.memory.share >= TIGHT
            young = now - begun < YOUNG_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_OFTEN if tight or young else LOOK_EVERY):
                    await self._look_now.wait()
            self._look_now.clear()

    def _look(self, now: Glance) -> Look:
        if now.compiling:
            self.stirred()
        return Look(
            answering=now.answering,
            quiet=self._clock.monotonic() - self._stirred_at >= diagnosis.QUIET_SECONDS,
            warm=self._warm,
            symptoms=self._symptoms,
            memory=self._memory,
            rss=now.sample.rss,
            cpu=now.sample.cpu,
            cores=self._cores,
            disk=self._disk,
            config_unseen=self._configuration.unseen(self._clock.monotonic()),
        )

    async def _carry_out(self, plan: Plan, session: aiohttp.ClientSession) -> bool:
        """Return whether the process was asked to end."""
        self._begin(plan)
        self._changed()
        if plan.how == "recycle" and await recycle(session, self._port):
            self.ready()
            return False
        if plan.kind == "watches" and not await self._cure():
            return False  # a restart would not help, and this one works as far as it does
        self._ask(plan.why)
        return True

    async def _cure(self) -> bool:
        """Do what is due, and return whether there was something and all of it could be done."""
        async with self._curing:
            due, self._due = self._due, ()
            try:
                async with asyncio.timeout(CURE_SECONDS):
                    for cure in due:
                        await asyncio.to_thread(self._do, cure)
            except (AgentError, TimeoutError) as error:
                reason = str(error) or f"it took more than {CURE_SECONDS:.0f} s"
                log.warning("dev_server.repair_failed", error=reason)
                self._settle(f"did not help: {reason}")
                return False
        return bool(due)

    def _do(self, cure: Cure) -> None:
        match cure:
            case Cure.DROP_CACHE:
                caches.drop(self._workspace, self._cache)
            case Cure.FREE_SPACE:
                caches.drop(self._workspace, self._cache)
                if self._user is not None:
                    caches.drop_packages(self._user)
            case Cure.FREE_LOCK:
                next_lock.end_holder(self._workspace)
            case Cure.RAISE_WATCHES:
                inotify.raise_limits()

    def _begin(self, plan: Plan) -> None:
        self._begun_at = self._clock.monotonic()
        self._history = self._history.begun(plan, self._begun_at, rfc3339(self._clock.wall()))
        self._due += plan.cures
        log.warning("dev_server.repair", kind=plan.kind, what=plan.what, why=plan.why)

    def _settle(self, outcome: str) -> None:
        before = self._history
        self._history = before.settled(outcome)
        if self._history is not before:
            log.info("dev_server.repaired", what=before.entries[-1].what, outcome=outcome)

    def _notice_kill(self, read: Memory | None, now: float) -> None:
        """The counts of two groups say nothing about each other: the process may have been moved."""
        before, self._memory = self._memory, read or self._memory
        if before is None or read is None or before.counter != read.counter:
            return
        if before.oom_kills is not None and read.oom_kills is not None and read.oom_kills > before.oom_kills:
            self._killed_at = now
