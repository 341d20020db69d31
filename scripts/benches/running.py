"""An agent that runs while something is measured, and is gone afterwards with all that it started."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.benches.place import Bench
from tests.peers.stack import ROOT, Stack, stack

COMPILE_SECONDS = 60


@asynccontextmanager
async def agent(bench: Bench, workspace: Path, api: str, **environ: str) -> AsyncIterator[Stack]:
    """Started, not yet ready. Its state and its log are in the folder that `workspace` is in.

    It is asked to stop however the block ends, Ctrl-C included: one that is killed leaves its dev server behind.
    """
    async with stack(workspace.parent, workspace, api, bench.port, **environ) as running:
        try:
            yield running
        finally:
            await running.agent.stop()


async def image_environment() -> dict[str, str]:
    """What runtime/Dockerfile sets for the agent's interpreter, for whoever measures the agent's memory.

    Everything that it imports is compiled for it first, as it is in the image: what an interpreter compiles by itself
    leaves 4 MiB behind in its memory.
    """
    text = re.sub(r"\\\n\s*", " ", (ROOT / "runtime/Dockerfile").read_text("utf-8"))
    words = shlex.split(re.findall(r"^ENV (.*)$", text, flags=re.MULTILINE)[-1])
    environ = {name: value for name, _, value in (word.partition("=") for word in words) if name != "PATH"}
    compiler = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import agent.app, agent.cli, agent.log, ctypes"),
        cwd=ROOT,
        env=environ | {"PYTHONDONTWRITEBYTECODE": ""},
    )
    try:
        async with asyncio.timeout(COMPILE_SECONDS):
            if await compiler.wait() != 0:
                raise RuntimeError("the agent cannot be imported")
    finally:
        if compiler.returncode is None:
            compiler.kill()
    # The image has the authorities as a folder only, which OpenSSL does not read whole. The backend here speaks no TLS.
    return environ | {"SSL_CERT_FILE": "/dev/null"}
