"""The app's package.json → the command that serves it, or the one that DEV_COMMAND says. Pure.

A script that is one simple command is run without a shell, so that the process we stop is the server itself. Anything
else is /bin/sh's, and is then stopped as a group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.devserver.command.app_dir import Member, script_of
from agent.devserver.command.command_line import filled, only_command
from agent.devserver.command.dev_script import Package, Served, serve
from agent.devserver.frameworks import known
from agent.devserver.frameworks.custom import OWN_SERVER, OWN_SERVER_VARIABLES
from agent.devserver.frameworks.framework import Framework
from agent.devserver.frameworks.nextjs import NEXT
from agent.other_projects import OTHER_PROJECTS


@dataclass(frozen=True, slots=True)
class AppCommand:
    """`words`: what is executed. `group`: a stop has to reach everything that it started; Next passes the signal on, a
    shell or a wrapper may not.

    `program`: what has to be installed in node_modules/.bin or on PATH. `file`: the tool's own program below
    node_modules, where `words` hold its place as `{file}`. `entry`: the app's own server, which only a restart reads
    anew. `shown`: the command for people.
    """

    framework: Framework
    words: tuple[str, ...]
    shown: str
    group: bool = False
    program: str | None = None
    file: str | None = None
    entry: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def of_setting(words: tuple[str, ...], packages: Package | None = None) -> AppCommand:
    """What DEV_COMMAND says. A program that is not known is asked as Next's server is: it may start that one."""
    for at, word in enumerate(words[:3]):
        name = word.rpartition("/")[2]
        found = known.by_program(name, words[at + 1] if at + 1 < len(words) else None)
        if found is not None:
            return AppCommand(found[0], words, " ".join(words))
    own = known.by_packages(packages.dependencies) if packages else None
    return AppCommand(own or NEXT, words, " ".join(words))


def of_app(app: Member, port: int) -> AppCommand | str:
    """What serves the app on `port`, or one sentence that says why nothing can."""
    name = script_of(app.package)
    if name is not None:
        return _command(serve(name, app.package, port), app, port)
    framework = known.by_packages(app.package.dependencies)
    tool = known.default_tool(framework, app.package.dependencies) if framework else None
    if tool is None:
        return (
            "package.json has no script named dev, and no dependency on a framework that is known here (Next.js, Vite, "
            "Astro): add a dev script that starts the app's server"
        )
    package = Package({"dev": " ".join(tool.default)}, app.package.dependencies)
    return _command(serve("dev", package, port), app, port)


def _command(served: Served, app: Member, port: int) -> AppCommand:
    tool, by_packages = served.tool, known.by_packages(app.package.dependencies)
    framework = served.framework or by_packages or OWN_SERVER
    if by_packages is not None and tool in by_packages.tools:
        framework = by_packages  # several frameworks are started by Vite's command
    variables = {} if tool else {name: filled(value, port) for name, value in OWN_SERVER_VARIABLES.items()}
    told = {**framework.variables, **variables}
    simple = only_command(served.text)
    if simple is None:
        return AppCommand(
            framework,
            ("/bin/sh", "-c", served.text),
            served.text,
            group=True,
            program=tool.program if tool else None,
            variables=told,
            notes=served.notes,
            entry=served.entry,
        )
    words = [word.value or "" for word in simple.words]
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        told[name] = value
    direct = tool is not None and tool.file is not None and words[0] == tool.program
    return AppCommand(
        framework,
        ("node", "{file}", *words[1:]) if direct else tuple(words),
        served.text,
        group=not direct,
        program=words[0],
        file=tool.file if direct and tool else None,
        entry=served.entry,
        variables=told,
        notes=served.notes,
    )


def missing(
    command: AppCommand, folder: str, exists: Callable[[str], bool], installed: Callable[[str], bool]
) -> str | None:
    """What must still come before `command` can run, as one sentence; None: it may start. `installed`: whether a
    program is in node_modules/.bin of the app's folder or above, or on PATH.
    """
    if command.program is not None and not installed(command.program):
        package = command.framework.packages[0] if command.file else None
        if package:
            return f"{package} is not installed yet: package.json has to name it among its dependencies"
        return (
            f"{command.program} is not installed: the dev script runs it, so that package.json has to name its package "
            "among the dependencies"
        )
    routes = command.framework.routes
    if routes and _names_no_folder(command) and not any(exists(_below(folder, route)) for route in routes):
        return f"none of the folders {', '.join(routes)} is there yet"
    return None


def why_ended(why: str, words: str, command: AppCommand, port: int) -> str:
    """Why a process ended, with what to do about it where its last `words` show that."""
    own = not command.framework.tools or bool(command.entry)
    if own and "EADDRINUSE" in words and f":{port}" not in words:
        return f"{why}: the port it listens on is taken on this machine; have it listen on process.env.PORT"
    return why


def foreign(names: Callable[[str], bool]) -> str | None:
    """What a folder without a package.json of the app's own looks like, with what is taken, as one sentence."""
    found = next(((file, kind) for file, kind in OTHER_PROJECTS.items() if names(file)), None)
    if found is None:
        return None
    file, kind = found
    return (
        f"this looks like {kind} ({file}): what can be previewed is an app with a package.json whose dev script starts "
        "a web server (Next.js, Vite, Astro, or a Node.js server that listens on process.env.PORT)"
    )


def _names_no_folder(command: AppCommand) -> bool:
    """Whether the routes are looked for where they usually are. `next dev ./web` and a server of the app's own may say
    another folder.
    """
    return re.search(r"\bnext\b", command.shown) is not None and not re.search(r"\bdev\s+[^\s&|;>-]", command.shown)


def _below(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
