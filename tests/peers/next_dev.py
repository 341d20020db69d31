"""A bare `next dev`, without the agent: what the template must work with, and what a benchmark compares against."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

FIRST_PAGE_SECONDS = 50.0


@asynccontextmanager
async def next_dev(workspace: Path, port: int, bundler: str = "turbopack") -> AsyncIterator[str]:
    """Run Next's dev server on `workspace`; the value is its base URL, once `/` was answered with 200."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    log = workspace.with_suffix(".log")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *("node", "node_modules/next/dist/bin/next", "dev", f"--{bundler}", "-p", str(port), "-H", "127.0.0.1"),
            cwd=workspace,
            env={**environ, "NEXT_TELEMETRY_DISABLED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        try:
            async with asyncio.timeout(FIRST_PAGE_SECONDS):
                await _answered(url, process)
        except TimeoutError:
            raise AssertionError(f"no page in {FIRST_PAGE_SECONDS} s:\n{log.read_text()}") from None
        yield url
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _answered(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session:
        while process.returncode is None:
            with suppress(aiohttp.ClientConnectionError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise AssertionError(f"next dev ended by itself with status {process.returncode}")
