"""Runs install scripts again when files of the app that they read were added or changed.

A package manager runs such a script once, when it installs the package. The file may not exist by then, and a later
change of it runs nothing. STATE_DIR holds
  packages.generated  name of each generator → digest of what it last ran with.

Not reentrant: one caller at a time.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from agent.package_files import MANIFEST
from agent.packages import generators, managers
from agent.packages.generators import APP_SCRIPTS, Generator
from agent.packages.lifecycle_scripts import ScriptPackage, script_packages
from agent.packages.node_modules import NodeModules
from agent.packages.run import CommandRunner
from agent.packages.toolchain import Manager
from agent.status import Problem

_OWN_SCRIPTS: Final = ("postinstall", "prepare")
_INPUT_BYTES: Final = 4 * 1024 * 1024


class Regeneration:
    def __init__(self, modules: NodeModules, runner: CommandRunner, progress: Callable[[str], None]) -> None:
        self._modules = modules
        self._runner = runner
        self._progress = progress
        self._generators: tuple[Generator, ...] = ()

    def concerns(self, path: str) -> bool:
        """Whether a script has to run again if this file of the app changes."""
        return any(generator.reads(path) for generator in self._generators)

    async def installed(self) -> dict[str, str]:
        """The packages with install scripts and their versions, so that new ones can be told later."""
        return {package.name: package.version for package in await asyncio.to_thread(script_packages, self._modules)}

    async def find_generators(self, own_scripts: Mapping[str, str] | None, managed: AbstractSet[str]) -> None:
        """Find the scripts that read files of the app, in a node_modules that may have changed."""
        self._generators = await asyncio.to_thread(self._find, own_scripts or {}, managed)

    async def record_runs(self, names: AbstractSet[str], managed: AbstractSet[str]) -> None:
        """Record that an installation has just run the scripts of these generators, with all files in place."""
        ran = [generator for generator in self._generators if generator.name in names]
        if ran:
            await asyncio.to_thread(self._record, ran, managed)

    async def due(self, managed: AbstractSet[str]) -> list[Generator]:
        """The generators whose input files exist and differ from those of their last run."""
        return await asyncio.to_thread(self._due, managed)

    async def run(self, due: list[Generator], manager: Manager, managed: AbstractSet[str]) -> tuple[Problem, ...]:
        """Run the scripts of `due`; a problem for each failure."""
        problems = []
        for generator in due:
            failure = await self._run(generator, manager)
            if failure is None:
                await self.record_runs({generator.name}, managed)
            else:
                problems.append(failure)
        return tuple(problems)

    async def _run(self, generator: Generator, manager: Manager) -> Problem | None:
        for event, script in generator.scripts:
            owner = generator.name or "the app"
            self._progress(f"{event} of {owner}")
            folder = shlex.quote(generator.folder or ".")
            workspace = str(self._runner.workspace)
            programs = os.pathsep.join((f"{workspace}/node_modules/.bin", self._runner.path))
            environment = {
                **managers.environment(manager),
                "PATH": programs,
                "INIT_CWD": workspace,
                "PROJECT_CWD": workspace,
                "npm_lifecycle_event": event,
            }
            command = ("sh", "-c", f"cd {folder} && {{\n{script}\n}}")
            result = await self._runner.run(manager, command, self._progress, environment)
            if result.failure is not None:
                from agent.packages.causes import last_lines  # noqa: PLC0415 - only a failure needs it

                last = "\n".join(last_lines(result.printed))
                message = f"the {event} script of {owner} failed when it ran again for a changed file ({script})"
                return Problem("install", f"{message}\n{last}".strip(), MANIFEST, code="script-failed")
        return None

    def _find(self, own_scripts: Mapping[str, str], managed: AbstractSet[str]) -> tuple[Generator, ...]:
        found = [
            Generator(package.name, package.folder, package.scripts, package.text)
            for package in script_packages(self._modules)
            if generators.can_find_app(package.text) and not self._is_skipped(package)
        ]
        own = tuple((name, own_scripts[name]) for name in _OWN_SCRIPTS if name in own_scripts)
        if own:
            commands = [command for _, command in own]
            texts = [self._text(path) for path in generators.files_named(commands, managed)]
            found.append(Generator(APP_SCRIPTS, "", own, "\n".join((*commands, *texts))))
        return tuple(found)

    def _is_skipped(self, package: ScriptPackage) -> bool:
        """Whether the app does not allow this package's scripts."""
        word = re.compile(rf"(?<![\w@/.-]){re.escape(package.name)}(?![\w/-])")
        return any(
            code == "builds-skipped" and word.search(message) for message, code in self._modules.recorded_notes()
        )

    def _due(self, managed: AbstractSet[str]) -> list[Generator]:
        done = self._modules.generated_digests()
        return [
            generator
            for generator in self._generators
            if generators.inputs_of(generator, managed) and done.get(generator.name) != self._digest(generator, managed)
        ]

    def _record(self, ran: list[Generator], managed: AbstractSet[str]) -> None:
        done = self._modules.generated_digests()
        done |= {generator.name: self._digest(generator, managed) for generator in ran}
        self._modules.record_generated(done)

    def _digest(self, generator: Generator, managed: AbstractSet[str]) -> str:
        paths = generators.inputs_of(generator, managed)
        return generators.input_digest(
            generator, {path: self._modules.read(path, _INPUT_BYTES) or b"" for path in paths}
        )

    def _text(self, path: str) -> str:
        return (self._modules.read(path, _INPUT_BYTES) or b"").decode("utf-8", "replace")
