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
from typing import ParamSpec, Protocol, TypeVar

import structlog

from agent import package_files
from agent.clock import Clock, rfc3339
from agent.errors import DiskError
from agent.install_hooks import Errand
from agent.isolation.user import DevUser
from agent.packages import managers
from agent.packages import wanted as packages
from agent.packages.node_modules import HIDDEN_LOCK, Modules
from agent.packages.run import Ended, Installer, Limits
from agent.packages.wanted import Broken, Course, Files, Wanted
from agent.packages.warm_start import is_exactly
from agent.status import InstallFacts, Problem, Source

P = ParamSpec("P")
R = TypeVar("R")

PROGRESS_SECONDS = 0.25
FULL = "the disk was full during an installation"

log = structlog.get_logger()


class Server(Protocol):
    """The dev server's supervisor, as far as packages go."""

    def hold(self, why: str) -> None:
        """Start nothing; what runs goes on."""

    async def vacate(self, why: str) -> None:
        """The same, and end what runs. Returns when nothing runs any more, or after some seconds."""

    async def make_room(self, why: str) -> bool:
        """End what runs and remove the caches, since the disk is full; False: they are gone already."""

    def release(self) -> None:
        """Go on, and look at once whether everything is there."""

    def restart(self, reason: str) -> None: ...


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
        self._on_path = partial(shutil.which, path=environ.get("PATH"))
        self._facts = InstallFacts()
        self._told_at = 0.0
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
        server.hold("its packages are being looked at")

    def concerns(self, path: str) -> bool:
        return package_files.concerns(path)

    def end_now(self) -> None:
        """The last resort, when nobody waits any more: no installer runs on return."""
        self._installer.end_now()

    async def settle(self, managed: AbstractSet[str]) -> None:
        self._whole_project = package_files.MANIFEST in managed
        try:
            await self._installer.end_orphan()
            await self._call(self._modules.recover)
            files = await self._read(managed)
            wanted = self._wanted(files, managed)
            if wanted is not None and not await self._is_there(wanted, files, managed):
                self._hold(wanted)
                await self._install(wanted, prune=True, final=True)
        except DiskError as error:
            self._failed(Problem("install", str(error)), manager=None, seconds=None)
        finally:
            self._server.release()

    @asynccontextmanager
    async def errand(self, changed: Mapping[str, bytes | None], managed: AbstractSet[str]) -> AsyncIterator[Errand]:
        self._whole_project = package_files.MANIFEST in managed
        files = await self._read(managed | changed.keys())
        before = _quietly(files, managed, self._has)
        files = {**files, **{path: data for path, data in changed.items() if data is not None}}
        files = {path: data for path, data in files.items() if changed.get(path, data) is not None}
        wanted = self._wanted(files, managed)
        if wanted is None or await self._is_there(wanted, files, managed):
            yield Errand()
            return
        replaced = packages.replaced(before, wanted)
        if self._is_anew or (self._modules.exist and self._modules.are_pnpms != (wanted.manager == "pnpm")):
            replaced = ("node_modules",)
        loaded = await self._loaded()
        try:
            self._hold(wanted)
            if replaced:
                await self._server.vacate(f"{', '.join(replaced)} is about to be replaced")
            yield self._jobs(wanted, packages.course(before, wanted, is_new=not self._modules.exist or bool(replaced)))
        finally:
            self._server.release()
        if not replaced and (news := _news(loaded, await self._loaded())):
            self._server.restart(f"packages that it has loaded were replaced: {news}")

    def _jobs(self, wanted: Wanted, course: Course) -> Errand:
        ok = False

        async def ahead() -> None:
            nonlocal ok
            ok = await self._install(wanted, keep=course.keep, final=not course.behind)

        async def behind() -> None:
            if ok or not course.ahead or wanted.own_scripts:  # else it would fail once more
                await self._install(wanted, prune=True, gone=course.gone, final=True)

        needs = partial(packages.needs, wanted)
        return Errand(needs, ahead if course.ahead else None, behind if course.behind else None)

    @property
    def _is_anew(self) -> bool:
        """Whether a whole project finds the template's packages, on top of which it must not be installed."""
        return self._whole_project and self._modules.are_templates

    def _hold(self, wanted: Wanted) -> None:
        self._server.hold(f"its packages are being installed with {wanted.manager}")

    def _has(self, program: str) -> bool:
        return self._on_path(program) is not None

    async def _read(self, managed: AbstractSet[str]) -> Files:
        at_root = {package_files.MANIFEST, *package_files.LOCKS, *package_files.SETTINGS}
        return await self._call(
            self._modules.read_all, at_root | {path for path in managed if package_files.concerns(path)}
        )

    def _wanted(self, files: Files, managed: AbstractSet[str]) -> Wanted | None:
        """What the files ask for, and what there is to say about it; None where there is nothing to install."""
        try:
            wanted = packages.read(files, managed, self._has)
        except Broken as broken:
            log.warning("install.impossible", reason=str(broken))
            self._failed(broken.problem, manager=None, seconds=None)
            return None
        if wanted is None or wanted.nothing:
            self._settled(())
            return None
        return wanted

    async def _is_there(self, wanted: Wanted, files: Files, managed: AbstractSet[str]) -> bool:
        there = await self._call(self._are_there, wanted, files, managed)
        if there:
            self._settled(wanted.notes)
        return there

    def _are_there(self, wanted: Wanted, files: Files, managed: AbstractSet[str]) -> bool:
        modules = self._modules
        if modules.stand_for(wanted.digest):
            if self._whole_project:
                modules.become_apps()
            return True
        hidden = modules.read(HIDDEN_LOCK) if wanted.manager == "npm" and modules.are_sound else None
        if hidden is None or modules.are_pnpms:
            return False
        exact = self._is_anew and self._is_exactly(wanted, files, hidden)
        if not exact and not packages.adopted(files, managed, hidden, self._is_installed):
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

    async def _install(
        self,
        wanted: Wanted,
        *,
        keep: tuple[str, ...] = (),
        prune: bool = False,
        gone: tuple[str, ...] = (),
        final: bool,
    ) -> bool:
        """Run the installer; whether it succeeded. `final`: node_modules then is what `wanted` says."""
        manager, since = wanted.manager, rfc3339(self._clock.wall())
        self._tell(InstallFacts("running", manager, since, seconds=self._facts.seconds, runs=self._facts.runs + 1))
        attempt = partial(self._attempt, wanted, keep=keep, prune=prune, gone=gone, final=final)
        ended = await attempt()
        if ended.why is not None and managers.disk_was_full(ended.why) and await self._server.make_room(FULL):
            ended = await attempt()
        why, seconds = ended.why, ended.seconds
        if why is not None:
            log.warning("install.failed", manager=manager, reason=why, seconds=round(seconds, 1))
            problem = Problem("install", why, package_files.MANIFEST)
            self._failed(problem, manager=manager, seconds=seconds, notes=wanted.notes)
            return False
        log.info("install.done", manager=manager, seconds=round(seconds, 1))
        if final:
            self._facts = replace(self._facts, manager=manager, since=since, seconds=round(seconds, 3))
            self._settled(wanted.notes)
        return True

    async def _attempt(
        self, wanted: Wanted, *, keep: tuple[str, ...], prune: bool, gone: tuple[str, ...], final: bool
    ) -> Ended:
        """One run of the installer, and what node_modules is after it."""
        manager = wanted.manager
        keep = keep if managers.can_keep(manager) else ()
        own_files = manager != "pnpm" and wanted.own_scripts
        try:
            locks = await self._call(self._modules.locks)
            await self._call(
                self._modules.begin,
                pnpm=manager == "pnpm",
                own_files=own_files,
                prune=prune and manager == "npm",
                anew=self._is_anew,
            )
            if manager == "bun":  # it takes away what its lock file had, and the backend's may never have had it
                await self._call(self._modules.drop, gone)
            ended = await self._installer.run(manager, managers.command(manager, keep), self._progress)
            if ended.why is not None and keep and not ended.cut_short:
                # What goes may be what forbids what comes. Then it goes first, and an import of it may show an error.
                ended = await self._installer.run(manager, managers.command(manager), self._progress)
            await self._call(self._modules.restore, locks)
            if ended.why is None and final:
                await self._call(self._modules.note, wanted.digest)
            else:
                await self._call(self._modules.put_back if ended.cut_short else self._modules.end)
        except DiskError as error:
            return Ended(0.0, str(error))
        return ended

    async def _loaded(self) -> Mapping[str, str | None]:
        return await self._call(lambda: {name: self._modules.version(name) for name in packages.LOADED})

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
        self._tell(replace(self._facts, state="idle", progress=None, reason=None))
        self._problems("install", notes)

    def _failed(
        self,
        problem: Problem,
        *,
        manager: packages.Manager | None,
        seconds: float | None,
        notes: tuple[Problem, ...] = (),
    ) -> None:
        seconds = None if seconds is None else round(seconds, 3)
        changes = {
            "state": "failed",
            "progress": None,
            "reason": problem.message,
            "seconds": seconds,
            "manager": manager,
        }
        self._tell(replace(self._facts, **changes))  # type: ignore[arg-type]  # names are checked by replace itself
        self._problems("install", (problem, *notes))

    def _tell(self, facts: InstallFacts) -> None:
        self._facts = facts
        self._publish(facts)


def _quietly(files: Files, managed: AbstractSet[str], on_path: Callable[[str], bool]) -> Wanted | None:
    try:
        return packages.read(files, managed, on_path)
    except Broken:
        return None


def _pairs(wanted: Wanted) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(wanted.specs), tuple(wanted.specs.values())


def _news(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {old} → {after[name]}" for name, old in before.items() if old and old != after[name])
