"""Finds the command that serves the app: from its package.json, or from DEV_COMMAND. Pure.

A script that is one simple command is run without a shell, so that a stop signals the server itself. Any other script
is run by /bin/sh, and stopped as a process group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.devserver.command.app_dir import Member, script_of
from agent.devserver.command.command_line import filled, only_command
from agent.devserver.command.dev_script import Package, RewrittenScript, rewrite
from agent.devserver.frameworks import known
from agent.devserver.frameworks.custom import OWN_SERVER, OWN_SERVER_VARIABLES
from agent.devserver.frameworks.framework import Framework
from agent.devserver.frameworks.nextjs import NEXT
from agent.other_projects import OTHER_PROJECTS


@dataclass(frozen=True, slots=True)
class AppCommand:
    framework: Framework
    argv: tuple[str, ...]
    shown: str
    """The command for people."""
    group: bool = False
    """A stop has to signal the whole group: a shell or a wrapper may not pass the signal on, as Next does."""
    program: str | None = None
    """Has to be installed in node_modules/.bin or on PATH."""
    file: str | None = None
    """The program's script below node_modules; `argv` has `{file}` in its place."""
    entry: str | None = None
    """The file of the app's own server, which is read only at a start."""
    variables: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def from_setting(argv: tuple[str, ...], packages: Package | None = None) -> AppCommand:
    """The command of DEV_COMMAND. An unknown program is treated as Next's server, because it may start that."""
    for at, word in enumerate(argv[:3]):
        name = word.rpartition("/")[2]
        found = known.by_program(name, argv[at + 1] if at + 1 < len(argv) else None)
        if found is not None:
            return AppCommand(found[0], argv, " ".join(argv))
    own = known.by_packages(packages.dependencies) if packages else None
    return AppCommand(own or NEXT, argv, " ".join(argv))


def for_app(app: Member, port: int) -> AppCommand | str:
    """The command that serves the app on `port`, or one sentence that says why there is none."""
    name = script_of(app.package)
    if name is not None:
        return _command(rewrite(name, app.package, port), app, port)
    framework = known.by_packages(app.package.dependencies)
    tool = known.default_tool(framework, app.package.dependencies) if framework else None
    if tool is None:
        return (
            "package.json has no script named dev, and no dependency on a known framework (Next.js, Vite, Astro): "
            "add a dev script that starts the app's server"
        )
    package = Package({"dev": " ".join(tool.default)}, app.package.dependencies)
    return _command(rewrite("dev", package, port), app, port)


def _command(script: RewrittenScript, app: Member, port: int) -> AppCommand:
    tool, by_packages = script.tool, known.by_packages(app.package.dependencies)
    framework = script.framework or by_packages or OWN_SERVER
    if by_packages is not None and tool in by_packages.tools:
        framework = by_packages  # Vite's command starts several frameworks
    variables = {} if tool else {name: filled(value, port) for name, value in OWN_SERVER_VARIABLES.items()}
    variables = {**framework.variables, **variables}
    simple = only_command(script.text)
    if simple is None:
        return AppCommand(
            framework,
            ("/bin/sh", "-c", script.text),
            script.text,
            group=True,
            program=tool.program if tool else None,
            variables=variables,
            notes=script.notes,
            entry=script.entry,
        )
    words = [word.value or "" for word in simple.words]
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    direct = tool is not None and tool.file is not None and words[0] == tool.program
    return AppCommand(
        framework,
        ("node", "{file}", *words[1:]) if direct else tuple(words),
        script.text,
        group=not direct,
        program=words[0],
        file=tool.file if direct and tool else None,
        entry=script.entry,
        variables=variables,
        notes=script.notes,
    )


def missing(
    command: AppCommand, folder: str, exists: Callable[[str], bool], installed: Callable[[str], bool]
) -> str | None:
    """What is missing before `command` can run, as one sentence; None if nothing is. `installed`: whether a program is
    in node_modules/.bin of the app's folder or above it, or on PATH.
    """
    if command.program is not None and not installed(command.program):
        package = command.framework.packages[0] if command.file else None
        if package:
            return f"{package} is not installed yet: package.json has to name it among its dependencies"
        return (
            f"{command.program} is not installed: the dev script runs it, so package.json has to name its package "
            "among the dependencies"
        )
    routes = command.framework.routes
    if routes and _uses_default_folder(command) and not any(exists(_below(folder, route)) for route in routes):
        return f"none of the folders {', '.join(routes)} exists yet"
    return None


def why_ended(why: str, stderr: str, command: AppCommand, port: int) -> str:
    """Why a process ended, with advice if the end of its `stderr` allows one."""
    own = not command.framework.tools or bool(command.entry)
    if own and "EADDRINUSE" in stderr and f":{port}" not in stderr:
        return f"{why}: the port it listens on is taken on this machine; have it listen on process.env.PORT"
    return why


def foreign_project(exists: Callable[[str], bool]) -> str | None:
    """What kind of project a folder without a package.json looks like, and what can be previewed, as one sentence."""
    found = next(((file, kind) for file, kind in OTHER_PROJECTS.items() if exists(file)), None)
    if found is None:
        return None
    file, kind = found
    return (
        f"this looks like {kind} ({file}): a preview needs an app with a package.json whose dev script starts "
        "a web server (Next.js, Vite, Astro, or a Node.js server that listens on process.env.PORT)"
    )


def _uses_default_folder(command: AppCommand) -> bool:
    """Whether Next takes its routes from the app's folder. `next dev ./web` and a server of the app's own may name
    another one.
    """
    return re.search(r"\bnext\b", command.shown) is not None and not re.search(r"\bdev\s+[^\s&|;>-]", command.shown)


def _below(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
