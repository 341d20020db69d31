"""Runs other people's programs: with a deadline, their output in a file, and nothing of them left afterwards.

Each is the leader of its own session, and what is signalled is its whole process group: npm and its like leave their
children behind otherwise.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from scripts.apptable import patience

END_SECONDS = 5.0
TAIL_LINES = 12

PASSED = ("PATH", "HOME", "LANG", "TMPDIR", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")


class Failed(Exception):
    """A program ended with another status than 0, or too late. The message holds the end of its output."""


def environment(path: str = "", **further: str) -> dict[str, str]:
    """What a person's shell would have, without what an editor or a CI machine adds. `path` comes before PATH."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    quiet = {
        "NEXT_TELEMETRY_DISABLED": "1",
        "ASTRO_TELEMETRY_DISABLED": "1",
        "TURBO_TELEMETRY_DISABLED": "1",
        "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_prefer_offline": "true",
    }
    return passed | quiet | ({"PATH": f"{path}:{passed.get('PATH', os.defpath)}"} if path else {}) | further


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    try:
        text = log.read_text("utf-8", "replace")
    except OSError:
        return ""
    shown = [line.rstrip()[:400] for line in text.splitlines() if line.strip()]
    return "\n".join(shown[-lines:])


@asynccontextmanager
async def started(
    command: Sequence[str], folder: Path, log: Path, environ: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running program; its process group has ended when the block has."""
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        raise Failed(f"{command[0]} is not on PATH")
    with log.open("ab") as output:
        child = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            cwd=folder,
            env=dict(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    """SIGKILL follows in any case: members of the group may outlive their leader."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await child.wait()


async def run(command: Sequence[str], folder: Path, log: Path, environ: Mapping[str, str], within: float) -> None:
    """Run to the end. Raises Failed."""
    async with started(command, folder, log, environ) as child:
        try:
            async with asyncio.timeout(patience.seconds(within)):
                status = await child.wait()
        except TimeoutError:
            raise Failed(f"{' '.join(command)}: not done within {within:g} s\n{tail(log)}") from None
    if status != 0:
        raise Failed(f"{' '.join(command)}: exit status {status}\n{tail(log)}")
