"""The app's packages from a change of package.json to a node_modules that answers to it: decided by packages.py, done
by install.py, remembered by modules.py, and told.

Invariants:
  - The dev server is not started between the files of a set and the packages that they need, nor while an installer
    writes; one that runs goes on. It is ended first where what it has loaded itself is replaced.
  - node_modules counts as what package.json asks for only after a success. A failure leaves the old tree at work, is
    a problem that names its reason, and is tried again when one of the files changes, and at the next start.

Only for the loop's own thread, and one caller at a time (the sync).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from agent import package_files
from agent.clock import Clock, rfc3339
from agent.errors import DiskError
from agent.install_hooks import InstallHooks
from agent.isolation.user import DevUser
from agent.packages import engines, managers, two_phase_plan
from agent.packages import wanted as packages
from agent.packages.adoption import adopted
from agent.packages.attempt import Attempts, Result, Task
from agent.packages.generators import OWN
from agent.packages.manifest import Broken
from agent.packages.node_modules import HIDDEN_LOCK, Modules
from agent.packages.output import disk_was_full
from agent.packages.regeneration import Regeneration
from agent.packages.run import Installer, Limits
from agent.packages.server_port import Server
from agent.packages.toolbox import Toolbox
from agent.packages.toolchain import Manager
from agent.packages.two_phase_plan import LOADED, Course
from agent.packages.wanted import Files, Wanted
from agent.packages.warm_start import is_exactly
from agent.status import InstallFacts, Problem, Source

P = ParamSpec("P")
R = TypeVar("R")

PROGRESS_SECONDS = 0.25
FAILED = "install-failed"
FULL = "the disk was full during an installation"

log = structlog.get_logger()


class Dependencies:
    """`agent.install_hooks.Packages`, for a real node_modules."""

    def __init__(
        self,
        *,
        workspace: Path,
        state_dir: Path,
        environ: Mapping[str, str],
        clock: Clock,
        server: Server,
        hear: Callable[[str], None],
        publish: Callable[[InstallFacts], None],
        problems: Callable[[Source, tuple[Problem, ...]], None],
        limits: Limits | None = None,
        user: DevUser | None = None,
    ) -> None:
        """`user`: who runs the installers, where that is not the agent's own user."""
        self._modules = Modules(workspace, state_dir, owner=(user.uid, user.gid) if user else None)
        self._clock = clock
        self._server = server
        self._publish = publish
        self._problems = problems
        self._facts = InstallFacts()
        self._told_at = 0.0
        self._notes: tuple[Problem, ...] = ()
        self._node: str | None = None
        self._whole_project = False
        self._installer = Installer(
            workspace=workspace,
            state_dir=state_dir,
            environ=environ,
            clock=clock,
            hear=hear,
            limits=limits or Limits(),
            user=user,
        )
        path = environ.get("PATH")
        self._attempts = Attempts(
            modules=self._modules,
            installer=self._installer,
            toolbox=Toolbox(self._installer, lambda program: shutil.which(program, path=path) is not None),
            progress=self._progress,
            vacate=server.vacate,
        )
        self._regeneration = Regeneration(self._modules, self._installer, self._progress)
        server.hold("its packages are being looked at")

    def concerns(self, path: str) -> bool:
        return package_files.concerns(path) or self._regeneration.concerns(path)

    def end_now(self) -> None:
        """The last resort, when nobody waits any more: no installer runs on return."""
        self._installer.end_now()

    async def settle(self, managed: AbstractSet[str]) -> None:
        self._whole_project = package_files.MANIFEST in managed
        try:
            await self._installer.end_orphan()
            await self._call(self._modules.recover)
            self._node = await self._installer.version_of("node")
            files = await self._read(managed)
            wanted = await self._wanted(files, managed)
            if wanted is None:
                return
            if not await self._is_there(wanted, files, managed):
                self._hold(wanted)
                await self._install(Task(wanted, prune=True, final=True, anew=self._is_anew), managed)
            await self._generate(wanted, managed)
        except DiskError as error:
            await self._failed(Problem("install", str(error), code=FAILED))
        finally:
            self._go_on()

    @asynccontextmanager
    async def install_hooks(
        self, changed: Mapping[str, bytes | None], managed: AbstractSet[str]
    ) -> AsyncIterator[InstallHooks]:
        self._whole_project = package_files.MANIFEST in managed
        files = await self._read(managed | changed.keys())
        before = _quietly(files, managed)
        files = {**files, **{path: data for path, data in changed.items() if data is not None}}
        files = {path: data for path, data in files.items() if changed.get(path, data) is not None}
        wanted = await self._wanted(files, managed)
        if wanted is None or await self._is_there(wanted, files, managed):
            again = wanted is not None and any(self._regeneration.concerns(path) for path in changed)
            try:
                yield InstallHooks(after_files=partial(self._generate, wanted, managed) if wanted and again else None)
            finally:
                self._go_on()
            return
        replaced = two_phase_plan.replaced(before, wanted)
        other = self._modules.layout != managers.layout(wanted.manager)
        if self._is_anew or (self._modules.exist and other):
            replaced = ("node_modules",)
        loaded = await self._loaded()
        try:
            self._hold(wanted)
            if replaced:
                await self._server.vacate(f"{', '.join(replaced)} is about to be replaced")
            # Without a tree that works there is nothing to keep working, and scripts find the files that they read.
            is_new = bool(replaced) or not await self._call(lambda: self._modules.work)
            yield self._jobs(wanted, two_phase_plan.course(before, wanted, is_new=is_new), managed)
        finally:
            self._go_on()
        if not replaced and (news := _news(loaded, await self._loaded())):
            self._server.restart(f"packages that it has loaded were replaced: {news}")

    def _jobs(self, wanted: Wanted, plan: Course, managed: AbstractSet[str]) -> InstallHooks:
        first: Result | None = None

        async def ahead() -> None:
            nonlocal first
            first = await self._install(Task(wanted, keep=plan.keep, final=not plan.behind, anew=self._is_anew))

        async def behind() -> None:
            if first is None or first.ended.why is None:
                again = plan.behind
            else:  # it would fail once more, unless it was a script that misses one of the files
                again = wanted.own_scripts is not None or _needed_files(first)
            if again:
                await self._install(Task(wanted, prune=True, gone=plan.gone, final=True, anew=self._is_anew), managed)
            await self._generate(wanted, managed)

        return InstallHooks(partial(packages.needs, wanted), ahead if plan.ahead else None, behind)

    @property
    def _is_anew(self) -> bool:
        """Whether a whole project finds the template's packages, on top of which it must not be installed."""
        return self._whole_project and self._modules.are_templates

    def _hold(self, wanted: Wanted) -> None:
        self._server.hold(f"its packages are being installed with {wanted.manager}")

    def _go_on(self) -> None:
        """Let the dev server start, unless there are no packages that it could start with."""
        if self._facts.blocks:
            reason = (self._facts.reason or "").partition("\n")[0].rstrip(":")
            self._server.hold(f"its packages are not installed: {reason}")
        else:
            self._server.release()

    async def _read(self, managed: AbstractSet[str]) -> Files:
        at_root = {
            package_files.MANIFEST,
            *package_files.LOCKS,
            *package_files.SETTINGS,
            *package_files.TYPESCRIPT_SETTINGS,
        }
        return await self._call(
            self._modules.read_all, at_root | {path for path in managed if package_files.concerns(path)}
        )

    async def _wanted(self, files: Files, managed: AbstractSet[str]) -> Wanted | None:
        """What the files ask for, and what there is to say about it; None where there is nothing to install."""
        try:
            wanted = packages.read(files, managed)
        except Broken as broken:
            log.warning("install.impossible", reason=str(broken))
            # No dev server starts with a package.json that cannot be read. One that runs goes on.
            await self._failed(broken.problem, broken=True)
            return None
        if wanted is None or wanted.nothing:
            self._settled(wanted.notes if wanted is not None else ())
            return None
        if said := engines.mismatch(wanted.node, self._node):
            note = Problem("install", said, package_files.MANIFEST, level="warning", code="engine-mismatch")
            wanted = replace(wanted, notes=(*wanted.notes, note))
        return wanted

    async def _is_there(self, wanted: Wanted, files: Files, managed: AbstractSet[str]) -> bool:
        there = await self._call(self._are_there, wanted, files, managed)
        if there:
            earlier = await self._call(self._modules.notes)
            told = [
                Problem("install", message, package_files.MANIFEST, level="warning", code=code or None)
                for message, code in earlier
            ]
            self._settled((*wanted.notes, *told))
        return there

    def _are_there(self, wanted: Wanted, files: Files, managed: AbstractSet[str]) -> bool:
        modules = self._modules
        if modules.stand_for(wanted.digest):
            if self._whole_project:
                modules.become_apps()
            return True
        hidden = modules.read(HIDDEN_LOCK) if wanted.manager == "npm" and modules.are_sound else None
        if hidden is None or modules.layout != "flat":
            return False
        exact = self._is_anew and self._is_exactly(wanted, files, hidden)
        if not exact and not adopted(files, managed, hidden, self._is_installed):
            return False
        if any(modules.version(name) is None for name, _ in wanted.extras):
            return False
        try:
            if self._whole_project:
                modules.become_apps()
            modules.note(wanted.digest)
        except DiskError as error:  # the next start looks again
            log.warning("install.record_unwritten", error=str(error))
        return True

    def _is_installed(self, name: str, version: str) -> bool:
        return self._modules.version(name) == version

    def _is_exactly(self, wanted: Wanted, files: Files, hidden: bytes) -> bool:
        """Whether the tree is the one that an app without a lock file asks for."""
        settings = any(name in files for name in (*package_files.LOCKS, *package_files.SETTINGS))
        if settings or wanted.own_scripts or wanted.locals:
            return False
        return is_exactly(files[package_files.MANIFEST], hidden) and all(map(self._is_installed, *_pairs(wanted)))

    async def _install(self, task: Task, in_place: AbstractSet[str] | None = None) -> Result:
        """Run the installer, and tell how it went. `in_place`: the app's files, where all of them are on the disk, so
        that the scripts which run find what they read.
        """
        before = await self._regeneration.installed() if in_place is not None else {}
        wanted, since = task.wanted, rfc3339(self._clock.wall())
        self._tell(
            InstallFacts("running", wanted.manager, since, seconds=self._facts.seconds, runs=self._facts.runs + 1)
        )
        result = await self._attempts.run(task)
        if result.ended.why and disk_was_full(result.ended.why) and await self._server.make_room(FULL):
            result = await self._attempts.run(task)
        manager, seconds = result.manager, result.ended.seconds
        if result.ended.why is not None:
            log.warning("install.failed", manager=manager, reason=result.ended.why, seconds=round(seconds, 1))
            await self._failed(_problem(result), manager=manager, seconds=seconds, notes=wanted.notes)
            return result
        log.info("install.done", manager=manager, seconds=round(seconds, 1))
        if in_place is not None:
            after = await self._regeneration.installed()
            fresh = {name for name, version in after.items() if before.get(name) != version}
            await self._regeneration.look(wanted.own_scripts, in_place)
            await self._regeneration.note({*fresh, OWN}, in_place)
        if task.final:
            self._facts = replace(self._facts, manager=manager, since=since, seconds=round(seconds, 3))
            self._settled((*wanted.notes, *result.notes))
        return result

    async def _generate(self, wanted: Wanted, managed: AbstractSet[str]) -> None:
        """Run the install scripts whose files of the app have come or have changed."""
        if self._facts.state == "failed":
            return
        await self._regeneration.look(wanted.own_scripts, managed)
        due = await self._regeneration.due(managed)
        if not due:
            return
        before, notes = self._facts, self._notes
        self._tell(replace(before, state="running", progress=None))
        failed = await self._regeneration.run(due, wanted.manager, managed)
        self._tell(replace(before, state="idle", progress=None))
        self._set_problems((*failed, *notes))
        if packages_of := [generator.name for generator in due if generator.name]:
            self._server.restart(f"packages that it has loaded were generated anew: {', '.join(packages_of)}")

    async def _loaded(self) -> Mapping[str, str | None]:
        return await self._call(lambda: {name: self._modules.version(name) for name in LOADED})

    async def _call(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """In a thread; one that goes on after a cancellation is asked to hurry."""
        try:
            return await asyncio.to_thread(call, *args, **kwargs)
        except asyncio.CancelledError:
            self._modules.hurry()
            raise

    def _progress(self, words: str) -> None:
        now = self._clock.monotonic()
        if now - self._told_at >= PROGRESS_SECONDS:
            self._told_at = now
            self._tell(replace(self._facts, progress=words))

    def _settled(self, notes: tuple[Problem, ...]) -> None:
        self._tell(replace(self._facts, state="idle", progress=None, reason=None, blocks=False))
        self._set_problems(notes)

    async def _failed(
        self,
        problem: Problem,
        *,
        manager: Manager | None = None,
        seconds: float | None = None,
        notes: tuple[Problem, ...] = (),
        broken: bool = False,
    ) -> None:
        """Tell a failure. `broken`: the dev server could not start whatever is installed."""
        works = not broken and not self._is_anew and await self._call(lambda: self._modules.work)
        self._tell(
            replace(
                self._facts,
                state="failed",
                progress=None,
                reason=problem.message,
                seconds=None if seconds is None else round(seconds, 3),
                manager=manager,
                blocks=not works,
            )
        )
        self._set_problems((problem, *notes))

    def _set_problems(self, problems: tuple[Problem, ...]) -> None:
        self._notes = problems
        self._problems("install", problems)

    def _tell(self, facts: InstallFacts) -> None:
        self._facts = facts
        self._publish(facts)


def _problem(result: Result) -> Problem:
    cause = result.ended.cause
    message = result.ended.why or ""
    if cause is None or cause.file is None:
        return Problem("install", message, package_files.MANIFEST, code=FAILED)
    return Problem("install", message, cause.file, cause.line, cause.column, code=FAILED)


def _needed_files(result: Result) -> bool:
    """Whether an installation ahead of the sources failed because a script reads one of them."""
    return result.ended.cause is not None and result.ended.cause.script


def _quietly(files: Files, managed: AbstractSet[str]) -> Wanted | None:
    try:
        return packages.read(files, managed)
    except Broken:
        return None


def _pairs(wanted: Wanted) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(wanted.specs), tuple(wanted.specs.values())


def _news(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {old} → {after[name]}" for name, old in before.items() if old and old != after[name])
