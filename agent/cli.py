"""The command line: run, check, version.

Exit status: 0 after a signal, 1 for a defect or a failed check, 2 for a configuration that cannot be used. Everything
is imported late, so that a wrong variable is told at once.
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
    """`environ`: what the settings are read from. `os.environ`, which children are given a part of, holds no key."""
    parser = argparse.ArgumentParser(
        prog="python -m agent",
        description="Keeps one app's live preview true: syncs its files, supervises its dev server, fronts it.",
        epilog="Everything is set by environment variables; README has the table.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("run", help="run until a signal")
    commands.add_parser(
        "check", help="look at configuration, disk, tools, ports, backend and isolation; change nothing"
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
"""Open files: whoever holds connections open must not keep the agent from its own. Its children inherit it."""


def _run(settings: Settings) -> int:
    from agent import log  # noqa: PLC0415  # see the module's first lines
    from agent.app import Agent  # noqa: PLC0415

    log.configure(terminal=sys.stdout.isatty(), secrets=[settings.api_key] if settings.api_key else [])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES_MOST), most))
    os.umask(0o022)  # what is written has to be readable for the dev server, whoever starts the agent

    async def run() -> None:
        await Agent(settings, clock=Clock(), environ=os.environ).run()

    asyncio.run(run())
    return 0


def _check(settings: Settings) -> int:
    from agent.check.preflight import check  # noqa: PLC0415

    return asyncio.run(check(settings, sys.stdout.write))
