"""Measures exec → the waking page and the app's first page, against a bare `next dev` on the same files.

Both are visited in the same way (visit.py), from just before their process is created. Neither has a cache of Next's.
The agent's workspace is empty, so the time includes its first sync.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from agent.isolation.child_environment import for_child
from scripts.benches import app
from scripts.benches.place import Bench
from scripts.benches.rows import Budget, Row, median
from scripts.benches.running import agent
from scripts.benches.visit import Visit, first_page
from tests.peers.stack import backend

MARK = "Remote-client"
STOP_SECONDS = 5.0


async def measure(bench: Bench) -> list[Row]:
    place, bare_place = bench.workspace({}), bench.workspace(app.WHOLE)
    through: list[Visit] = []
    bare: list[Visit] = []
    runs = bench.either(7, 2)
    async with backend(bench.folder(), bench.port()) as api:
        await api.put(app.WHOLE)
        for number in range(runs):
            bench.say(f"start: {runs - number} starts of each to go")
            bare.append(await _bare(bare_place, bench.port()))
            through.append(await _through(bench, place, api.url))
    waking = [visit.waking for visit in through if visit.waking is not None]
    pages, bare_pages = [visit.page for visit in through], [visit.page for visit in bare]
    return [
        Row(
            "waking_page",
            "exec -> waking page",
            "s",
            median(waking),
            f"median of {len(waking)}, until the whole answer is read, port tried every 2 ms",
            budget=Budget(0.5),
            samples={"waking": waking},
        ),
        Row(
            "first_page",
            "exec -> first 200 through the gateway",
            "s",
            median(pages),
            f"median of {runs}, no cache of Next's, files synced first, as a browser that follows the waking page",
            baseline=median(bare_pages),
            against="bare next dev with the files in place, alternating",
            budget=Budget(1.10, on="ratio"),
            samples={"gateway": pages, "bare": bare_pages},
        ),
    ]


async def _through(bench: Bench, place: Path, api: str) -> Visit:
    for old in (".next", *app.WHOLE):
        await asyncio.to_thread(_remove, place / old)
    await asyncio.to_thread(_remove, place.parent / "state")
    await asyncio.to_thread(os.sync)
    began = time.perf_counter()
    async with agent(bench, place, api) as running:
        return await _visit(running.port, began)


async def _bare(place: Path, port: int) -> Visit:
    await asyncio.to_thread(_remove, place / ".next")
    await asyncio.to_thread(os.sync)
    began = time.perf_counter()
    async with _next(place, port):
        return await _visit(port, began)


async def _visit(port: int, began: float) -> Visit:
    stop = threading.Event()
    try:
        return await asyncio.to_thread(first_page, port, began, MARK, stop)
    finally:
        stop.set()


@asynccontextmanager
async def _next(place: Path, port: int) -> AsyncIterator[None]:
    """Run the command that the agent would run, in the same environment, without the agent."""
    with place.with_suffix(".log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("node", "node_modules/next/dist/bin/next", "dev", "-p", str(port), "-H", "127.0.0.1"),
            cwd=place,
            env=for_child(os.environ, "bench"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
