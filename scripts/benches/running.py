"""Runs an agent during a measurement, and ends it afterwards with everything that it started."""

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
    """Start an agent; it is not ready yet. Its state and its log are in the parent folder of `workspace`.

    It gets a SIGTERM however the block ends, also after Ctrl-C, because a killed agent leaves its dev server behind.
    """
    async with stack(workspace.parent, workspace, api, bench.port, **environ) as running:
        try:
            yield running
        finally:
            await running.agent.stop()


async def image_environment() -> dict[str, str]:
    """Return the environment that runtime/Dockerfile sets for the agent's interpreter, for measuring memory.

    Its modules are compiled first, as in the image, because compiling at import leaves 4 MiB in the process's memory.
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
    # In the image OpenSSL does not load all authorities (see runtime/Dockerfile). The backend here does not use TLS.
    return environ | {"SSL_CERT_FILE": "/dev/null"}
