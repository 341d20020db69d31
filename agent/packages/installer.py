"""Installs the app's packages when package.json or a lock file changes, in step with the files and the dev server.

wanted.py decides what is to be installed, attempt.py carries out one installation, node_modules.py remembers it.

Invariants:
  - The dev server is not started between the files of a set and the packages that they need, nor while an installation
    writes. A running one goes on; it is stopped first if what it has loaded is replaced.
  - node_modules counts as what package.json asks for only after a success. A failure leaves the old tree in use, is
    reported as a problem with its reason, and is tried again when one of the files changes, and at the next start.

Not thread-safe: only for the event loop's thread, and for one caller at a time (the sync).
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
from agent.packages import engines, managers
from agent.packages.adoption import matches_npm_lock
from agent.packages.attempt import InstallAttempts, InstallResult, InstallTask
from agent.packages.generators import APP_SCRIPTS
from agent.packages.install_status import InstallStatus
from agent.packages.manifest import InvalidManifest
from agent.packages.node_modules import HIDDEN_LOCK, NodeModules
from agent.packages.output import disk_was_full
from agent.packages.regeneration import Regeneration
from agent.packages.run import CommandRunner, Limits
from agent.packages.server_port import DevServerPort
from agent.packages.toolbox import Toolbox
from agent.packages.toolchain import Manager
from agent.packages.two_phase_plan import LOADED_BY_SERVER, TwoPhasePlan, replaced_packages, two_phase_plan
from agent.packages.wanted import Files, WantedPackages, is_install_input, wanted_packages
from agent.packages.warm_start import matches_exactly
from agent.status import InstallFacts, Problem, Source

P = ParamSpec("P")
R = TypeVar("R")

FAILED = "install-failed"
DISK_FULL = "the disk was full during an installation"

log = structlog.get_logger()


class PackageInstaller:
    """Implements `agent.install_hooks.Packages`."""

    def __init__(
        self,
        *,
        workspace: Path,
        state_dir: Path,
        environ: Mapping[str, str],
        clock: Clock,
        server: DevServerPort,
        on_line: Callable[[str], None],
        publish: Callable[[InstallFacts], None],
        problems: Callable[[Source, tuple[Problem, ...]], None],
        limits: Limits | None = None,
        user: DevUser | None = None,
    ) -> None:
        """`on_line` is called with every line of output for the log. `user`: who runs the package managers, if not the
        agent's own user.
        """
        self._modules = NodeModules(workspace, state_dir, owner=(user.uid, user.gid) if user else None)
        self._clock = clock
        self._server = server
        self._status = InstallStatus(clock, publish, problems)
        self._node: str | None = None
        self._whole_project = False
        """The app has a package.json of its own, so the template's packages are not its own."""
        self._runner = CommandRunner(
            workspace=workspace,
            state_dir=state_dir,
            environ=environ,
            clock=clock,
            on_line=on_line,
            limits=limits or Limits(),
            user=user,
        )
        path = environ.get("PATH")
        self._attempts = InstallAttempts(
            modules=self._modules,
            runner=self._runner,
            toolbox=Toolbox(self._runner, lambda program: shutil.which(program, path=path) is not None),
            progress=self._status.progress,
            vacate=server.vacate,
        )
        self._regeneration = Regeneration(self._modules, self._runner, self._status.progress)
        server.hold("its packages are being checked")

    def concerns(self, path: str) -> bool:
        return package_files.concerns(path) or self._regeneration.concerns(path)

    def end_now(self) -> None:
        """Kill a running installation without awaiting its end. The last resort when the agent stops."""
        self._runner.end_now()

    async def settle(self, managed: AbstractSet[str]) -> None:
        self._whole_project = package_files.MANIFEST in managed
        try:
            await self._runner.end_orphan()
            await self._call(self._modules.recover)
            self._node = await self._runner.version_of("node")
            files = await self._read_files(managed)
            wanted = await self._read_wanted(files, managed)
            if wanted is None:
                return
            if not await self._is_installed(wanted, files, managed):
                self._hold(wanted)
                await self._install(
                    InstallTask(wanted, prune=True, final=True, from_scratch=self._from_scratch), managed
                )
            await self._regenerate(wanted, managed)
        except DiskError as error:
            await self._publish_failure(Problem("install", str(error), code=FAILED))
        finally:
            self._release()

    @asynccontextmanager
    async def install_hooks(
        self, changed: Mapping[str, bytes | None], managed: AbstractSet[str]
    ) -> AsyncIterator[InstallHooks]:
        self._whole_project = package_files.MANIFEST in managed
        files = await self._read_files(managed | changed.keys())
        before = _wanted_or_none(files, managed)
        files = {**files, **{path: data for path, data in changed.items() if data is not None}}
        files = {path: data for path, data in files.items() if changed.get(path, data) is not None}
        wanted = await self._read_wanted(files, managed)
        if wanted is None or await self._is_installed(wanted, files, managed):
            again = wanted is not None and any(self._regeneration.concerns(path) for path in changed)
            try:
                yield InstallHooks(after_files=partial(self._regenerate, wanted, managed) if wanted and again else None)
            finally:
                self._release()
            return
        replaced = replaced_packages(before, wanted)
        other_layout = self._modules.layout != managers.tree_layout(wanted.manager)
        if self._from_scratch or (self._modules.exists and other_layout):
            replaced = ("node_modules",)
        loaded = await self._loaded_versions()
        try:
            self._hold(wanted)
            if replaced:
                await self._server.vacate(f"{', '.join(replaced)} is about to be replaced")
            # Without a usable tree there is nothing to keep working, and later the scripts find the files they read.
            is_new = bool(replaced) or not await self._call(lambda: self._modules.is_usable)
            yield self._hooks(wanted, two_phase_plan(before, wanted, is_new=is_new), managed)
        finally:
            self._release()
        if not replaced and (changes := _version_changes(loaded, await self._loaded_versions())):
            self._server.restart(f"packages that it has loaded were replaced: {changes}")

    def _hooks(self, wanted: WantedPackages, plan: TwoPhasePlan, managed: AbstractSet[str]) -> InstallHooks:
        first: InstallResult | None = None

        async def before_sources() -> None:
            nonlocal first
            final = not plan.install_after
            first = await self._install(
                InstallTask(wanted, keep=plan.keep, final=final, from_scratch=self._from_scratch)
            )

        async def after_sources() -> None:
            if first is None or first.run.failure is None:
                again = plan.install_after
            else:  # a second try fails the same way, unless a script failed because a file was not there yet
                again = wanted.own_scripts is not None or _script_failed(first)
            if again:
                fresh = self._from_scratch
                await self._install(
                    InstallTask(wanted, prune=True, removed=plan.removed, final=True, from_scratch=fresh), managed
                )
            await self._regenerate(wanted, managed)

        needs = partial(is_install_input, wanted)
        return InstallHooks(needs, before_sources if plan.install_before else None, after_sources)

    @property
    def _from_scratch(self) -> bool:
        """True if an app with its own package.json finds the template's packages, which it must not build upon."""
        return self._whole_project and self._modules.is_template

    def _hold(self, wanted: WantedPackages) -> None:
        self._server.hold(f"its packages are being installed with {wanted.manager}")

    def _release(self) -> None:
        """Let the dev server start, unless its packages are missing."""
        if self._status.facts.blocks:
            reason = (self._status.facts.reason or "").partition("\n")[0].rstrip(":")
            self._server.hold(f"its packages are not installed: {reason}")
        else:
            self._server.release()

    async def _read_files(self, managed: AbstractSet[str]) -> Files:
        at_root = {
            package_files.MANIFEST,
            *package_files.LOCKS,
            *package_files.SETTINGS,
            *package_files.TYPESCRIPT_SETTINGS,
        }
        return await self._call(
            self._modules.read_all, at_root | {path for path in managed if package_files.concerns(path)}
        )

    async def _read_wanted(self, files: Files, managed: AbstractSet[str]) -> WantedPackages | None:
        """What the files ask for, with its notes; None if nothing is to be installed."""
        try:
            wanted = wanted_packages(files, managed)
        except InvalidManifest as error:
            log.warning("install.impossible", reason=str(error))
            # No dev server can start with an invalid package.json. A running one goes on.
            await self._publish_failure(error.problem, blocks=True)
            return None
        if wanted is None or wanted.is_empty:
            self._status.success(wanted.notes if wanted is not None else ())
            return None
        if warning := engines.mismatch(wanted.node, self._node):
            note = Problem("install", warning, package_files.MANIFEST, level="warning", code="engine-mismatch")
            wanted = replace(wanted, notes=(*wanted.notes, note))
        return wanted

    async def _is_installed(self, wanted: WantedPackages, files: Files, managed: AbstractSet[str]) -> bool:
        """Whether node_modules matches `wanted`. If so, it is published with the notes of its installation."""
        installed = await self._call(self._check_installed, wanted, files, managed)
        if installed:
            recorded = await self._call(self._modules.recorded_notes)
            notes = [
                Problem("install", message, package_files.MANIFEST, level="warning", code=code)
                for message, code in recorded
            ]
            self._status.success((*wanted.notes, *notes))
        return installed

    def _check_installed(self, wanted: WantedPackages, files: Files, managed: AbstractSet[str]) -> bool:
        modules = self._modules
        if modules.matches(wanted.digest):
            if self._whole_project:
                modules.mark_as_apps()
            return True
        hidden = modules.read(HIDDEN_LOCK) if wanted.manager == "npm" and modules.is_intact else None
        if hidden is None or modules.layout != "flat":
            return False
        exact = self._from_scratch and self._is_exactly_wanted(wanted, files, hidden)
        if not exact and not matches_npm_lock(files, managed, hidden, self._has_version):
            return False
        if any(modules.version(name) is None for name, _ in wanted.extras):
            return False
        try:
            if self._whole_project:
                modules.mark_as_apps()
            modules.record_installed(wanted.digest)
        except DiskError as error:  # the next start checks again
            log.warning("install.record_unwritten", error=str(error))
        return True

    def _has_version(self, name: str, version: str) -> bool:
        return self._modules.version(name) == version

    def _is_exactly_wanted(self, wanted: WantedPackages, files: Files, hidden: bytes) -> bool:
        """Whether the tree is exactly what an app without a lock file asks for."""
        settings = any(name in files for name in (*package_files.LOCKS, *package_files.SETTINGS))
        if settings or wanted.own_scripts or wanted.local_paths:
            return False
        return matches_exactly(files[package_files.MANIFEST], hidden) and all(
            map(self._has_version, wanted.specs.keys(), wanted.specs.values())
        )

    async def _install(self, task: InstallTask, in_place: AbstractSet[str] | None = None) -> InstallResult:
        """Run one installation, and publish its outcome.

        `in_place`: the app's files, if all of them are on disk, so that the scripts that run find what they read.
        """
        before = await self._regeneration.installed() if in_place is not None else {}
        wanted, since = task.wanted, rfc3339(self._clock.wall())
        self._status.set_facts(
            InstallFacts(
                "running", wanted.manager, since, seconds=self._status.facts.seconds, runs=self._status.facts.runs + 1
            )
        )
        result = await self._attempts.install(task)
        if result.run.failure and disk_was_full(result.run.failure) and await self._server.make_room(DISK_FULL):
            result = await self._attempts.install(task)
        manager, seconds = result.manager, result.run.seconds
        if result.run.failure is not None:
            log.warning("install.failed", manager=manager, reason=result.run.failure, seconds=round(seconds, 1))
            await self._publish_failure(_problem(result), manager=manager, seconds=seconds, notes=wanted.notes)
            return result
        log.info("install.done", manager=manager, seconds=round(seconds, 1))
        if in_place is not None:
            after = await self._regeneration.installed()
            fresh = {name for name, version in after.items() if before.get(name) != version}
            await self._regeneration.find_generators(wanted.own_scripts, in_place)
            await self._regeneration.record_runs({*fresh, APP_SCRIPTS}, in_place)
        if task.final:
            self._status.facts = replace(self._status.facts, manager=manager, since=since, seconds=round(seconds, 3))
            self._status.success((*wanted.notes, *result.notes))
        return result

    async def _regenerate(self, wanted: WantedPackages, managed: AbstractSet[str]) -> None:
        """Run the install scripts that read files of the app which were added or changed."""
        if self._status.facts.state == "failed":
            return
        await self._regeneration.find_generators(wanted.own_scripts, managed)
        due = await self._regeneration.due(managed)
        if not due:
            return
        before, notes = self._status.facts, self._status.problems
        self._status.set_facts(replace(before, state="running", progress=None))
        failed = await self._regeneration.run(due, wanted.manager, managed)
        self._status.set_facts(replace(before, state="idle", progress=None))
        self._status.set_problems((*failed, *notes))
        if names := [generator.name for generator in due if generator.name]:
            self._server.restart(f"packages that it has loaded were generated again: {', '.join(names)}")

    async def _loaded_versions(self) -> Mapping[str, str | None]:
        return await self._call(lambda: {name: self._modules.version(name) for name in LOADED_BY_SERVER})

    async def _call(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `call` in a thread. On cancellation it is asked to end soon."""
        try:
            return await asyncio.to_thread(call, *args, **kwargs)
        except asyncio.CancelledError:
            self._modules.abort_soon()
            raise

    async def _publish_failure(
        self,
        problem: Problem,
        *,
        manager: Manager | None = None,
        seconds: float | None = None,
        notes: tuple[Problem, ...] = (),
        blocks: bool = False,
    ) -> None:
        """`blocks`: the dev server could not start with any node_modules."""
        usable = not blocks and not self._from_scratch and await self._call(lambda: self._modules.is_usable)
        self._status.failure(problem, blocks=not usable, manager=manager, seconds=seconds, notes=notes)


def _problem(result: InstallResult) -> Problem:
    cause = result.run.cause
    message = result.run.failure or ""
    if cause is None or cause.file is None:
        return Problem("install", message, package_files.MANIFEST, code=FAILED)
    return Problem("install", message, cause.file, cause.line, cause.column, code=FAILED)


def _script_failed(result: InstallResult) -> bool:
    """Whether an installation failed in a script, which may miss a file that is not on disk yet."""
    return result.run.cause is not None and result.run.cause.script


def _wanted_or_none(files: Files, managed: AbstractSet[str]) -> WantedPackages | None:
    try:
        return wanted_packages(files, managed)
    except InvalidManifest:
        return None


def _version_changes(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {old} → {after[name]}" for name, old in before.items() if old and old != after[name])
