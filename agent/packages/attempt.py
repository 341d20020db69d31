"""One installation: makes the package manager and node_modules ready, runs the manager, and records the outcome.

Step 1: find or fetch the manager. Step 2: prepare node_modules. Step 3: run the manager; where it fails for a reason
that other arguments overcome, run it again. Step 4: restore lock files and package.json. Step 5: record that
node_modules matches what was wanted, or put the old tree back.

What must not live here: when to install (installer.py), and how a manager is called (managers.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, ParamSpec, TypeVar

from agent.errors import DiskError
from agent.package_files import MANIFEST
from agent.packages import managers, skipped_builds
from agent.packages.lifecycle_scripts import packages_with_install_scripts
from agent.packages.manifest import with_extra_packages
from agent.packages.node_modules import NodeModules
from agent.packages.run import CommandRunner, RunResult
from agent.packages.toolbox import ReadyManager, Toolbox
from agent.packages.toolchain import Manager
from agent.packages.wanted import WantedPackages
from agent.status import Problem

P = ParamSpec("P")
R = TypeVar("R")

NPMRC: Final = ".npmrc"
YARNRC: Final = ".yarnrc.yml"
PEER_CONFLICT: Final = "peer-conflict"


@dataclass(frozen=True, slots=True)
class InstallTask:
    wanted: WantedPackages
    final: bool
    """A success makes node_modules match `wanted`, and is recorded."""
    keep: tuple[str, ...] = ()
    """`name@version` of packages that stay although package.json does not name them."""
    removed: tuple[str, ...] = ()
    """Packages that package.json no longer names."""
    prune: bool = False
    """npm removes packages that nothing asks for."""
    from_scratch: bool = False
    """The existing tree is moved away first."""


@dataclass(frozen=True, slots=True)
class InstallResult:
    run: RunResult
    manager: Manager
    """The manager that ran, which may stand in for the wanted one."""
    notes: tuple[Problem, ...] = ()
    """Warnings about a success, besides `WantedPackages.notes`."""


@dataclass(slots=True)
class _Attempt:
    """The runs of one installation."""

    ready: ReadyManager
    seconds: float = 0.0
    """The duration of all runs together."""
    notes: list[Problem] = field(default_factory=list)


class InstallAttempts:
    """Not reentrant: one installation at a time."""

    def __init__(
        self,
        *,
        modules: NodeModules,
        runner: CommandRunner,
        toolbox: Toolbox,
        progress: Callable[[str], None],
        vacate: Callable[[str], Awaitable[None]],
    ) -> None:
        """`vacate` stops the dev server before the packages that it has loaded are moved away."""
        self._modules = modules
        self._runner = runner
        self._toolbox = toolbox
        self._progress = progress
        self._vacate = vacate

    async def install(self, task: InstallTask) -> InstallResult:
        """Run one installation. Failures are returned, also those of the disk."""
        manager = task.wanted.manager
        try:
            ready = await self._toolbox.ready_manager(task.wanted.tool, self._progress)
            manager = ready.manager
            attempt = _Attempt(ready, notes=list(ready.notes))
            result = await self._install_with(task, attempt)
        except DiskError as error:
            return InstallResult(RunResult(0.0, str(error)), manager)
        result = replace(result, seconds=attempt.seconds or result.seconds)
        return InstallResult(result, manager, tuple(attempt.notes))

    async def _install_with(self, task: InstallTask, attempt: _Attempt) -> RunResult:
        wanted, manager = task.wanted, attempt.ready.manager
        # Read before anything changes. A tree that was installed without regard to peers conflicts every time.
        had_conflict = any(code == PEER_CONFLICT for _, code in await self._call(self._modules.recorded_notes))
        locks = await self._call(self._modules.read_locks)
        await self._call(
            self._modules.prepare,
            layout=managers.tree_layout(manager),
            own_files=manager != "pnpm" and wanted.own_scripts is not None,
            prune=task.prune and manager == "npm",
            from_scratch=task.from_scratch,
        )
        if manager == "bun":  # it removes what its own lock file listed, and the backend's lock file may list less
            await self._call(self._modules.remove_packages, task.removed)
        try:
            result = await self._run_manager(task, attempt, keep=task.keep)
            if result.failure is not None and task.keep and not result.incomplete:
                # Removed packages can conflict with new ones. Retry without keeping them; imports of them may fail
                # briefly.
                result = await self._run_manager(task, attempt)
            if result.cause is not None and result.cause.code == "ERESOLVE":
                result = await self._retry_peer_conflict(task, attempt, result, had_conflict=had_conflict)
        finally:
            await asyncio.shield(self._call(self._modules.restore_files, locks))
        if result.failure is None:
            attempt.notes += await self._skipped_builds(manager, result)
        if result.failure is None and task.final:
            notes = [(note.message, note.code) for note in attempt.notes]
            await self._call(self._modules.record_installed, wanted.digest, notes)
        else:
            await self._call(self._modules.put_back_old if result.incomplete else self._modules.keep_after_failure)
        return result

    async def _run_manager(
        self, task: InstallTask, attempt: _Attempt, *, keep: tuple[str, ...] = (), legacy_peers: bool = False
    ) -> RunResult:
        wanted, ready = task.wanted, attempt.ready
        more = (*keep, *(f"{name}@{version}" for name, version in wanted.extras))
        if more and not managers.accepts_packages(ready.manager):
            data = await self._call(self._modules.read, MANIFEST)
            if data is not None:
                extended = with_extra_packages(data, dict(map(_name_and_spec, more)))
                await self._call(self._modules.replace_manifest, extended)
            more = ()
        command = managers.install_command(
            ready.manager, more, program=ready.program, locked=wanted.locked, legacy_peers=legacy_peers
        )
        environment = {**await self._environment(ready.manager), **ready.environment}
        try:
            result = await self._runner.run(ready.manager, command, self._progress, environment)
        finally:
            await asyncio.shield(self._call(self._modules.restore_manifest))
        attempt.seconds += result.seconds
        return result

    async def _retry_peer_conflict(
        self, task: InstallTask, attempt: _Attempt, failed: RunResult, *, had_conflict: bool
    ) -> RunResult:
        """Peer dependencies conflict. The versions of the existing tree may cause it, so npm first resolves everything
        from scratch; if that fails too, it ignores peer dependencies, as its own message suggests.
        """
        conflicts = failed.cause.conflicts if failed.cause is not None else ()
        if self._modules.exists and not had_conflict:
            await self._vacate("its packages have to be installed from scratch")
            await self._call(self._modules.move_aside)
            again = await self._run_manager(task, attempt)
            if again.failure is None or again.incomplete:
                return again
            await self._call(self._modules.put_back_old)
        again = await self._run_manager(task, attempt, legacy_peers=True)
        if again.failure is None:
            message = (
                "the peer dependencies of some packages conflict: "
                f"{', '.join(conflicts) or 'the log shows which'}. They were installed with --legacy-peer-deps"
            )
            detail = failed.failure.partition("\n")[2] if failed.failure else ""
            attempt.notes.append(
                Problem("install", f"{message}\n{detail}".strip(), MANIFEST, level="warning", code=PEER_CONFLICT)
            )
        return again

    async def _skipped_builds(self, manager: Manager, result: RunResult) -> list[Problem]:
        names = skipped_builds.skipped_packages(manager, result.printed)
        if manager == "bun" and (count := skipped_builds.count_blocked_by_bun(result.printed)):
            names = await self._call(packages_with_install_scripts, self._modules)
            names = names if len(names) == count else (f"{count} packages",)
        return [skipped_builds.skipped_note(manager, names)] if names else []

    async def _environment(self, manager: Manager) -> dict[str, str]:
        if manager != "yarn-berry":
            return managers.environment(manager)
        yarnrc = await self._call(self._modules.read, YARNRC) or b""
        npmrcs = (await self._call(self._modules.read, NPMRC) or b"", await asyncio.to_thread(self._runner.npmrc))
        return managers.environment(manager, yarnrc=yarnrc, npmrcs=npmrcs)

    async def _call(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `call` in a thread. On cancellation it is asked to end soon."""
        try:
            return await asyncio.to_thread(partial(call, *args, **kwargs))
        except asyncio.CancelledError:
            self._modules.abort_soon()
            raise


def _name_and_spec(entry: str) -> tuple[str, str]:
    name, _, spec = entry[1:].partition("@")
    return entry[0] + name, spec or "*"
