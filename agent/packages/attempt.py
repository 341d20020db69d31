"""One installation from its first change of the disk to its end: which runs of the manager it takes, and what follows.

In order: the manager is made ready; node_modules is made ready; the manager runs; where it failed for a reason that
another way of calling it overcomes, it runs again; lock files and package.json become the app's own again; node_modules
counts as what was wanted, or goes back to what it was.

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
from agent.packages.lifecycle_scripts import with_install_scripts
from agent.packages.manifest import with_more
from agent.packages.node_modules import Modules
from agent.packages.run import Ended, Installer
from agent.packages.toolbox import Ready, Toolbox
from agent.packages.toolchain import Manager
from agent.packages.wanted import Wanted
from agent.status import Problem

P = ParamSpec("P")
R = TypeVar("R")

NPMRC: Final = ".npmrc"
YARNRC: Final = ".yarnrc.yml"
PEER_CONFLICT: Final = "peer-conflict"


@dataclass(frozen=True, slots=True)
class Task:
    """`keep`: packages as `name@version` that stay, although package.json does not name them. `gone`: those that it
    names no more. `prune`: npm is to take away what nobody asks for. `final`: node_modules then is what `wanted` says.
    `anew`: nothing of the tree that is there takes part.
    """

    wanted: Wanted
    final: bool
    keep: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    prune: bool = False
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """`notes`: what there is to say about a success besides `Wanted.notes`."""

    ended: Ended
    manager: Manager
    notes: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Runs:
    """The runs of one installation. `seconds`: all of them together."""

    ready: Ready
    seconds: float = 0.0
    notes: list[Problem] = field(default_factory=list)


class Attempts:
    """Only for one caller at a time."""

    def __init__(
        self,
        *,
        modules: Modules,
        installer: Installer,
        toolbox: Toolbox,
        progress: Callable[[str], None],
        vacate: Callable[[str], Awaitable[None]],
    ) -> None:
        """`vacate` ends the dev server before the packages that it has loaded are moved away."""
        self._modules = modules
        self._installer = installer
        self._toolbox = toolbox
        self._progress = progress
        self._vacate = vacate

    async def run(self, task: Task) -> Result:
        """Install. A failure is a value, also one of the disk."""
        manager = task.wanted.manager
        try:
            ready = await self._toolbox.ready(task.wanted.tool, self._progress)
            manager = ready.manager
            runs = _Runs(ready, notes=list(ready.notes))
            ended = await self._run(task, runs)
        except DiskError as error:
            return Result(Ended(0.0, str(error)), manager)
        return Result(replace(ended, seconds=runs.seconds or ended.seconds), manager, tuple(runs.notes))

    async def _run(self, task: Task, runs: _Runs) -> Ended:
        wanted, manager = task.wanted, runs.ready.manager
        # Read before anything changes: a tree that was made without regard to peers conflicts each time anew.
        lenient = any(code == PEER_CONFLICT for _, code in await self._call(self._modules.notes))
        locks = await self._call(self._modules.locks)
        await self._call(
            self._modules.begin,
            layout=managers.layout(manager),
            own_files=manager != "pnpm" and wanted.own_scripts is not None,
            prune=task.prune and manager == "npm",
            anew=task.anew,
        )
        if manager == "bun":  # it takes away what its lock file had, and the backend's may never have had it
            await self._call(self._modules.drop, task.gone)
        try:
            ended = await self._call_manager(task, runs, keep=task.keep)
            if ended.why is not None and task.keep and not ended.cut_short:
                # Removed packages can conflict with new ones. Without them their imports may fail for a moment.
                ended = await self._call_manager(task, runs)
            if ended.cause is not None and ended.cause.code == "ERESOLVE":
                ended = await self._despite_peers(task, runs, ended, lenient=lenient)
        finally:
            await asyncio.shield(self._call(self._modules.restore, locks))
        if ended.why is None:
            runs.notes += await self._skipped(manager, ended)
        if ended.why is None and task.final:
            await self._call(
                self._modules.note, wanted.digest, [(note.message, note.code or "") for note in runs.notes]
            )
        else:
            await self._call(self._modules.put_back if ended.cut_short else self._modules.end)
        return ended

    async def _call_manager(
        self, task: Task, runs: _Runs, *, keep: tuple[str, ...] = (), legacy_peers: bool = False
    ) -> Ended:
        wanted, ready = task.wanted, runs.ready
        more = (*keep, *(f"{name}@{version}" for name, version in wanted.extras))
        if more and not managers.takes_packages(ready.manager):
            data = await self._call(self._modules.read, MANIFEST)
            if data is not None:
                await self._call(self._modules.lend_manifest, with_more(data, dict(map(_name_and_spec, more))))
            more = ()
        command = managers.command(
            ready.manager, more, program=ready.program, locked=wanted.locked, legacy_peers=legacy_peers
        )
        variables = {**await self._variables(ready.manager), **ready.variables}
        try:
            ended = await self._installer.run(ready.manager, command, self._progress, variables)
        finally:
            await asyncio.shield(self._call(self._modules.take_back_manifest))
        runs.seconds += ended.seconds
        return ended

    async def _despite_peers(self, task: Task, runs: _Runs, ended: Ended, *, lenient: bool) -> Ended:
        """Peer dependencies that contradict each other. Versions of the tree may be what does, so npm first chooses
        all of them anew; then it leaves peers out of account, as it says itself that one may do.
        """
        conflicts = ended.cause.conflicts if ended.cause is not None else ()
        if self._modules.exist and not lenient:
            await self._vacate("its packages have to be made anew")
            await self._call(self._modules.set_aside)
            again = await self._call_manager(task, runs)
            if again.why is None or again.cut_short:
                return again
            await self._call(self._modules.put_back)
        again = await self._call_manager(task, runs, legacy_peers=True)
        if again.why is None:
            message = (
                "packages ask for versions of each other that contradict: "
                f"{', '.join(conflicts) or 'npm says which in the log'}. They are installed with --legacy-peer-deps"
            )
            detail = ended.why.partition("\n")[2] if ended.why else ""
            runs.notes.append(
                Problem("install", f"{message}\n{detail}".strip(), MANIFEST, level="warning", code=PEER_CONFLICT)
            )
        return again

    async def _skipped(self, manager: Manager, ended: Ended) -> list[Problem]:
        names = skipped_builds.skipped(manager, ended.printed)
        if manager == "bun" and (count := skipped_builds.blocked_by_bun(ended.printed)):
            names = await self._call(with_install_scripts, self._modules)
            names = names if len(names) == count else (f"{count} packages",)
        return [skipped_builds.note(manager, names)] if names else []

    async def _variables(self, manager: Manager) -> dict[str, str]:
        if manager != "yarn-berry":
            return managers.variables(manager)
        yarnrc = await self._call(self._modules.read, YARNRC) or b""
        npmrcs = (await self._call(self._modules.read, NPMRC) or b"", await asyncio.to_thread(self._installer.npmrc))
        return managers.variables(manager, yarnrc=yarnrc, npmrcs=npmrcs)

    async def _call(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await asyncio.to_thread(partial(call, *args, **kwargs))
        except asyncio.CancelledError:
            self._modules.hurry()
            raise


def _name_and_spec(entry: str) -> tuple[str, str]:
    name, _, spec = entry[1:].partition("@")
    return entry[0] + name, spec or "*"
