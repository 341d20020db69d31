"""The command line: run, check, version.

Exit status: 0 after a signal, 1 for a bug or a failed check, 2 for an unusable configuration. Rooms are imported late,
so that a wrong variable is reported at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
from collections.abc import Mapping

from agent import __version__
from agent.clock import Clock
from agent.config import Settings, load
from agent.errors import ConfigError


def main(environ: Mapping[str, str], arguments: list[str] | None = None) -> int:
    """`environ`: the environment with the key. `os.environ`, parts of which children inherit, no longer contains it."""
    parser = argparse.ArgumentParser(
        prog="python -m agent",
        description="Runs one app's live preview: syncs its files, supervises its dev server, forwards requests.",
        epilog="Everything is set by environment variables; README has the table.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("run", help="run until a signal")
    commands.add_parser(
        "check", help="check configuration, disk, tools, ports, backend and isolation without changing anything"
    )
    commands.add_parser("version", help="print the version")
    command = parser.parse_args(arguments).command
    if command == "version":
        sys.stdout.write(f"preview-agent {__version__}\n")
        return 0
    try:
        settings = load(environ)
        return _check(settings) if command == "check" else _run(settings)
    except ConfigError as error:
        sys.stderr.write(f"preview-agent: {error}\n")
        return 2


FILES_MOST = 16_384
"""Limit of open files, so that many open connections do not exhaust the agent's own. Child processes inherit it."""


def _run(settings: Settings) -> int:
    from agent import log  # noqa: PLC0415  see the module docstring
    from agent.app import Agent  # noqa: PLC0415

    log.configure(terminal=sys.stdout.isatty(), secrets=[settings.api_key] if settings.api_key else [])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES_MOST), most))
    os.umask(0o022)  # the dev server's user has to be able to read the files

    async def run() -> None:
        await Agent(settings, clock=Clock(), environ=os.environ).run()

    asyncio.run(run())
    return 0


def _check(settings: Settings) -> int:
    from agent.check.preflight import check  # noqa: PLC0415

    return asyncio.run(check(settings, sys.stdout.write))
