"""Finds the command to run from the files on disk, with its folder and environment, and spawns it.

Reads the manifests of the workspace, and which programs are installed. The app's code can write these files while root
reads them, so each is read without following a symbolic link, and up to a limit.

What must not live here: which command follows from a manifest (app_command.py, app_dir.py), and when it is started.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from agent.devserver.command import app_command, app_dir
from agent.devserver.command.app_command import AppCommand
from agent.devserver.command.app_dir import Member
from agent.devserver.frameworks import known
from agent.devserver.frameworks.framework import Framework
from agent.isolation import child_environment
from agent.isolation.sandbox import confined, kill_all_command
from agent.isolation.user import DevUser
from agent.json_errors import describe
from agent.package_files import LOCKS
from agent.process.child import Child, OnLine, spawn

READ_BYTES: Final = 1024 * 1024
FOLDERS_MOST: Final = 2000
DEPTH_MOST: Final = 5
MEMBERS_MOST: Final = 200
TEMPLATE: Final = "preview-template"
"""The name in the template's package.json, which is used for an app without one."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that one start of the app needs."""

    command: AppCommand
    framework: Framework
    folder: str = ""
    """The app's folder in the workspace, empty for the root."""
    version: str | None = None
    """Of the framework."""
    argv: tuple[str, ...] = ()
    """The command's own, with the paths filled in."""
    variables: Mapping[str, str] = field(default_factory=dict)
    bins: tuple[str, ...] = ()
    """The node_modules/.bin folders for PATH."""
    notes: tuple[str, ...] = ()
    """For the app's owner, about how it is run."""

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two launches that run the same command."""
        return self.folder, self.argv, sorted(self.command.variables.items())


class Launcher:
    """Reads the workspace. `command` and `app_dir_setting`: DEV_COMMAND and APP_DIR, if they are set."""

    def __init__(
        self,
        *,
        workspace: Path,
        port: int,
        environ: Mapping[str, str],
        command: tuple[str, ...] | None,
        app_dir_setting: str | None,
        user: DevUser | None,
    ) -> None:
        self._workspace = workspace
        self._port = port
        self._environ = environ
        self._command = command
        self._app_dir_setting = app_dir_setting
        self._user = user

    def find_launch(self) -> Launch | str:
        """What would be run now, or one sentence that says what is missing."""
        if self._command is not None:
            return self._from_setting(self._command)
        try:
            manifest = self._manifest("")
        except ValueError as error:
            return str(error)
        if manifest is None:
            return app_command.foreign_project(self.exists) or "there is no package.json yet"
        app = app_dir.choose(app_dir.member("", manifest), tuple(self._members(manifest)), self._app_dir_setting)
        if isinstance(app, str):
            return app
        command = app_command.for_app(app, self._port)
        if isinstance(command, str):
            return command if not app.folder else f"{command} (in {app.folder})"
        missing = app_command.missing(
            command, app.folder, self.exists, lambda program: self._installed(program, app, command)
        )
        return missing or self._launch(app, command, self._notes(app, command))

    def why_outdated(self, launch: Launch, paths: Iterable[str]) -> str | None:
        """Why `launch` has to be replaced after `paths` changed; None if it has not."""
        changed = set(paths)
        entry = launch.command.entry
        if entry is not None and _below(launch.folder, entry) in changed:
            return f"{entry} changed"
        if self._command is None and any(path.rpartition("/")[2] in _MANIFESTS for path in changed):
            now = self.find_launch()
            if not isinstance(now, str) and now.identity != launch.identity:
                return f"the app is run with another command now: {now.command.shown}"
        return None

    def exists(self, path: str) -> bool:
        return os.path.exists(self._workspace / path)  # noqa: PTH110 - Path.exists raises where a name is too long

    def config_texts(self, launch: Launch) -> Iterator[str]:
        """The texts of the framework's configuration files."""
        folder = self._workspace / launch.folder
        with suppress(OSError):
            for name in sorted(os.listdir(folder)):  # noqa: PTH208 - only the names are needed
                if name.startswith(launch.framework.config or ("\0",)):
                    yield (self._read(_below(launch.folder, name)) or b"").decode("utf-8", "replace")

    def spawn(self, launch: Launch, run: str, on_line: OnLine) -> Child:
        """Raises SpawnFailed."""
        environ = child_environment.for_child(self._environ, run, self._user)
        if launch.bins:
            path = ":".join((*launch.bins, environ.get("PATH", os.defpath)))
            environ |= {"PATH": path, **self._npm_variables(launch), **launch.command.variables}
        return spawn(
            confined(launch.argv, self._user),
            workspace=self._workspace / launch.folder,
            environ=environ,
            run=run,
            on_line=on_line,
            kill_all_command=kill_all_command(self._user),
            group=launch.command.group,
        )

    def _from_setting(self, argv: tuple[str, ...]) -> Launch | str:
        app = None
        with suppress(ValueError):
            manifest = self._manifest("")
            app = None if manifest is None else app_dir.member("", manifest)
        command = app_command.from_setting(argv, app.package if app else None)
        if any(_NEXT_PROGRAM in word for word in argv):
            if app is None:
                return "there is no package.json yet"
            missing = app_command.missing(command, "", self.exists, lambda _: True)
            if not self.exists(_NEXT_PROGRAM):
                missing = "next is not installed yet: package.json has to name it among its dependencies"
            if missing is not None:
                return missing
        version = self._version(command.framework, "")
        return Launch(command, known.of_installed_version(command.framework, version), version=version, argv=argv)

    def _launch(self, app: Member, command: AppCommand, notes: tuple[str, ...]) -> Launch:
        version = self._version(command.framework, app.folder)
        folders = tuple(_folder_and_above(app.folder))
        file = next(
            (
                path
                for path in (_below(above, f"node_modules/{command.file}") for above in folders)
                if self.exists(path)
            ),
            "",
        )
        relative = os.path.relpath(file, app.folder or ".") if file else ""
        return Launch(
            command,
            known.of_installed_version(command.framework, version),
            app.folder,
            version,
            tuple(relative if word == "{file}" else word for word in command.argv),
            {"npm_package_name": app.name, "npm_package_version": app.version},
            tuple(str(self._workspace / above / "node_modules" / ".bin") for above in folders),
            notes,
        )

    def _notes(self, app: Member, command: AppCommand) -> tuple[str, ...]:
        found = [*command.notes]
        if command.entry is not None:
            found.append(f"{command.entry} serves the app: it is restarted when that file changes")
        looks_like = app_command.foreign_project(self.exists) if app.name == TEMPLATE else None
        return (*found, looks_like) if looks_like else tuple(found)

    def _npm_variables(self, launch: Launch) -> dict[str, str]:
        """The variables that a package manager sets for a script."""
        lock = next((LOCKS[name] for name in LOCKS if self.exists(name)), "npm")
        return {
            "npm_lifecycle_event": "dev",
            "npm_lifecycle_script": launch.command.shown,
            "npm_package_json": str(self._workspace / launch.folder / "package.json"),
            "npm_config_user_agent": f"{lock}/0.0.0 node/v0.0.0 linux",
            "INIT_CWD": str(self._workspace / launch.folder),
            **launch.variables,
        }

    def _installed(self, program: str, app: Member, command: AppCommand) -> bool:
        if command.file is not None:
            return any(
                self.exists(_below(above, f"node_modules/{command.file}")) for above in _folder_and_above(app.folder)
            )
        if "/" in program:
            return program.startswith("/") or self.exists(_below(app.folder, program))
        in_modules = (
            self.exists(_below(above, f"node_modules/.bin/{program}")) for above in _folder_and_above(app.folder)
        )
        return any(in_modules) or shutil.which(program, path=self._environ.get("PATH")) is not None

    def _version(self, framework: Framework, folder: str) -> str | None:
        for package in framework.packages:
            for above in _folder_and_above(folder):
                with suppress(ValueError):
                    manifest = self._manifest(_below(above, f"node_modules/{package}"))
                    version = manifest.get("version") if manifest else None
                    if isinstance(version, str):
                        return version[:64]
        return None

    def _members(self, root: Mapping[str, Any]) -> Iterator[Member]:
        pnpm = self._read("pnpm-workspace.yaml")
        patterns = app_dir.patterns(root, None if pnpm is None else pnpm.decode("utf-8", "replace"))
        if self._app_dir_setting not in {None, "", "."}:
            patterns = (*patterns, str(self._app_dir_setting))
        found = 0
        for folder in self._folders() if patterns else ():
            if not app_dir.is_member(folder, patterns):
                continue
            with suppress(ValueError):
                manifest = self._manifest(folder)
                if manifest is not None:
                    yield app_dir.member(folder, manifest)
                    found += 1
            if found >= MEMBERS_MOST:
                return

    def _folders(self) -> Iterator[str]:
        """The folders of the workspace by path, without those of packages and hidden ones."""
        waiting, seen = [""], 0
        while waiting and seen < FOLDERS_MOST:
            above = waiting.pop(0)
            seen += 1
            if above:
                yield above
            if above.count("/") + bool(above) >= DEPTH_MOST:
                continue
            with suppress(OSError), os.scandir(self._workspace / above) as entries:
                waiting += sorted(
                    _below(above, entry.name)
                    for entry in entries
                    if entry.name != "node_modules"
                    and not entry.name.startswith(".")
                    and entry.is_dir(follow_symlinks=False)
                )

    def _manifest(self, folder: str) -> dict[str, Any] | None:
        """The package.json in `folder`; None if there is none. Raises ValueError, with a sentence, if it is invalid."""
        data = self._read(_below(folder, "package.json"))
        if data is None:
            return None
        where = _below(folder, "package.json")
        try:
            manifest = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError as error:
            found = describe(where, data)
            raise ValueError(found.message if found else f"{where} is not JSON: {error.msg}") from None
        if not isinstance(manifest, dict):
            raise ValueError(f"{where} does not hold a JSON object")  # noqa: TRY004 - the file is wrong, not the caller
        return manifest

    def _read(self, path: str) -> bytes | None:
        with suppress(OSError, ValueError):
            descriptor = os.open(self._workspace / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return os.read(descriptor, READ_BYTES)
            finally:
                os.close(descriptor)
        return None


_MANIFESTS: Final = ("package.json", "pnpm-workspace.yaml")
_NEXT_PROGRAM: Final = "node_modules/next/dist/bin/next"


def _below(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path


def _folder_and_above(folder: str) -> Iterator[str]:
    """The folder and all folders above it, up to the workspace's root."""
    parts = folder.split("/") if folder else []
    for length in range(len(parts), -1, -1):
        yield "/".join(parts[:length])
