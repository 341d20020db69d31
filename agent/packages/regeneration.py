"""Runs install scripts that read files of the app again when these files have come or have changed.

Package managers run such a script once, when they install its package. By then the file may not be there, and nobody
runs it again when it changes. In STATE_DIR is
  packages.generated  name of each generator → what it last ran with.

Only for one caller at a time.
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
from agent.packages.generators import OWN, Generator
from agent.packages.lifecycle_scripts import ScriptPackage, script_packages
from agent.packages.node_modules import Modules
from agent.packages.run import Installer
from agent.packages.toolchain import Manager
from agent.status import Problem

_OWN_SCRIPTS: Final = ("postinstall", "prepare")
_INPUT_BYTES: Final = 4 * 1024 * 1024


class Regeneration:
    def __init__(self, modules: Modules, installer: Installer, progress: Callable[[str], None]) -> None:
        self._modules = modules
        self._installer = installer
        self._progress = progress
        self._generators: tuple[Generator, ...] = ()

    def concerns(self, path: str) -> bool:
        """Whether a change of this file of the app may ask for a script."""
        return any(generator.reads(path) for generator in self._generators)

    async def installed(self) -> dict[str, str]:
        """The packages with install scripts and their versions, to tell later which are new."""
        return {package.name: package.version for package in await asyncio.to_thread(script_packages, self._modules)}

    async def look(self, own_scripts: Mapping[str, str] | None, managed: AbstractSet[str]) -> None:
        """Find the scripts that read files of the app, in a tree that may have changed."""
        self._generators = await asyncio.to_thread(self._find, own_scripts or {}, managed)

    async def note(self, names: AbstractSet[str], managed: AbstractSet[str]) -> None:
        """An installation has just run the scripts of these, with all files in place."""
        ran = [generator for generator in self._generators if generator.name in names]
        if ran:
            await asyncio.to_thread(self._note, ran, managed)

    async def due(self, managed: AbstractSet[str]) -> list[Generator]:
        """Those whose files are there, and are not what they last ran with."""
        return await asyncio.to_thread(self._due, managed)

    async def run(self, due: list[Generator], manager: Manager, managed: AbstractSet[str]) -> tuple[Problem, ...]:
        """Run them; what failed is a problem each."""
        problems = []
        for generator in due:
            failure = await self._run(generator, manager)
            if failure is None:
                await self.note({generator.name}, managed)
            else:
                problems.append(failure)
        return tuple(problems)

    async def _run(self, generator: Generator, manager: Manager) -> Problem | None:
        for event, script in generator.scripts:
            whose = generator.name or "the app"
            self._progress(f"{event} of {whose}")
            folder = shlex.quote(generator.folder or ".")
            workspace = str(self._installer.workspace)
            programs = os.pathsep.join((f"{workspace}/node_modules/.bin", self._installer.path))
            variables = {
                **managers.variables(manager),
                "PATH": programs,
                "INIT_CWD": workspace,
                "PROJECT_CWD": workspace,
                "npm_lifecycle_event": event,
            }
            command = ("sh", "-c", f"cd {folder} && {{\n{script}\n}}")
            ended = await self._installer.run(manager, command, self._progress, variables)
            if ended.why is not None:
                from agent.packages.causes import last_lines  # noqa: PLC0415 - only a failure needs it

                last = "\n".join(last_lines(ended.printed))
                message = f"the {event} script of {whose} failed when it ran again for a changed file ({script})"
                return Problem("install", f"{message}\n{last}".strip(), MANIFEST, code="script-failed")
        return None

    def _find(self, own_scripts: Mapping[str, str], managed: AbstractSet[str]) -> tuple[Generator, ...]:
        found = [
            Generator(package.name, package.folder, package.scripts, package.text)
            for package in script_packages(self._modules)
            if generators.reads_the_app(package.text) and not self._is_skipped(package)
        ]
        own = tuple((name, own_scripts[name]) for name in _OWN_SCRIPTS if name in own_scripts)
        if own:
            commands = [command for _, command in own]
            texts = [self._text(path) for path in generators.files_named(commands, managed)]
            found.append(Generator(OWN, "", own, "\n".join((*commands, *texts))))
        return tuple(found)

    def _is_skipped(self, package: ScriptPackage) -> bool:
        """The app does not allow the scripts of this package."""
        word = re.compile(rf"(?<![\w@/.-]){re.escape(package.name)}(?![\w/-])")
        return any(code == "builds-skipped" and word.search(message) for message, code in self._modules.notes())

    def _due(self, managed: AbstractSet[str]) -> list[Generator]:
        done = self._modules.generated()
        return [
            generator
            for generator in self._generators
            if generators.inputs_of(generator, managed) and done.get(generator.name) != self._digest(generator, managed)
        ]

    def _note(self, ran: list[Generator], managed: AbstractSet[str]) -> None:
        done = self._modules.generated()
        done |= {generator.name: self._digest(generator, managed) for generator in ran}
        self._modules.note_generated(done)

    def _digest(self, generator: Generator, managed: AbstractSet[str]) -> str:
        paths = generators.inputs_of(generator, managed)
        return generators.digest(generator, {path: self._modules.read(path, _INPUT_BYTES) or b"" for path in paths})

    def _text(self, path: str) -> str:
        return (self._modules.read(path, _INPUT_BYTES) or b"").decode("utf-8", "replace")
