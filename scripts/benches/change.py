"""Measures a change at the backend → its bytes on disk, against rsync with inotifywait and against the agent polling.

The clock starts before the PUT is sent, so the backend's own time is included; another row shows how much that is. The
clock stops when inotify reports the file under its final name.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from scripts.benches.arrivals import arrivals
from scripts.benches.edits import ChangeSeries
from scripts.benches.mirror import mirror
from scripts.benches.place import STAND_IN, Absent, Bench, write
from scripts.benches.putting import client
from scripts.benches.rows import Budget, Row, median, quantile
from scripts.benches.running import agent
from tests.peers.plain import plain_backend
from tests.peers.stack import backend

EDITED = "components/Part0.tsx"
APP = {f"components/Part{i}.tsx": f"export const Part{i} = () => <p>part {i}</p>;\n" * 40 for i in range(200)}
"""200 files of 2 kB, which rsync compares at each change."""
ROUNDS = 4


def _rest() -> float:
    return random.uniform(0.02, 0.05)


def _long_rest() -> float:
    return random.uniform(0, 3)


async def measure(bench: Bench) -> list[Row]:
    ours, theirs, absent = await _alternating(bench)
    polled = await _polling(bench)
    after = [disk - handed for disk, handed in zip(ours.disk, ours.handed, strict=True)]
    how = f"n={len(ours.disk)}, one 2 kB file of 200, changes 20-50 ms apart, from before the PUT to inotify"
    samples = {"disk": ours.disk} | ({"rsync": theirs.disk} if theirs else {})

    def row(name: str, q: float, limit: float) -> Row:
        return Row(
            name,
            f"change -> bytes on disk, p{q * 100:.0f}",
            "ms",
            quantile(ours.disk, q),
            how,
            baseline=quantile(theirs.disk, q) if theirs else None,
            against=f"inotifywait -m and rsync -a, same disk, alternating, n={len(theirs.disk)}" if theirs else absent,
            budget=Budget(limit),
            samples=samples,
        )

    return [
        row("change_p50", 0.5, 5),
        row("change_p95", 0.95, 15),
        Row(
            "change_put",
            "  the PUT's own round trip, p50",
            "ms",
            median(ours.handed),
            "the same changes: the backend's commit, flushed to its disk, and its answer",
            samples={"put": ours.handed},
        ),
        Row(
            "change_after_put",
            "  from the PUT's answer to the disk, p50",
            "ms",
            median(after),
            "the same changes; negative: the bytes were there before the answer",
            samples={"after_put": after},
        ),
        Row(
            "change_poll",
            "  the same agent at a 3 s poll, p50",
            "ms",
            median(polled.disk),
            f"n={len(polled.disk)}, a backend of the plain form, changes at random moments",
            samples={"poll": polled.disk},
        ),
    ]


async def _alternating(bench: Bench) -> tuple[ChangeSeries, ChangeSeries | None, str]:
    """Measure the agent and the mirror in turns. The third value is why there is no mirror."""
    count = bench.either(200, 40) // ROUNDS
    async with AsyncExitStack() as opened:
        ours = await opened.enter_async_context(_ours(bench))
        theirs, absent = None, ""
        try:
            theirs = await opened.enter_async_context(_theirs(bench))
        except Absent as why:
            absent = f"left out: {why}"
        for number in range(1, ROUNDS + 1):
            bench.say(f"change: {count} through the backend, {count} by rsync ({number}/{ROUNDS})")
            for way in (ours, theirs):
                if way is not None:
                    await way.run(count, _rest)
    return ours, theirs, absent


@asynccontextmanager
async def _ours(bench: Bench) -> AsyncIterator[ChangeSeries]:
    folder = bench.folder()
    async with backend(folder, bench.port()) as api:
        await api.put(APP)
        async with _agent(bench, folder, api.url) as workspace:
            with client(api.url) as connection, arrivals(workspace / EDITED) as came:
                yield ChangeSeries(lambda text: connection.put(EDITED, text), came)


@asynccontextmanager
async def _theirs(bench: Bench) -> AsyncIterator[ChangeSeries]:
    folder = bench.folder()
    source, target, aside = folder / "source", folder / "target", folder / "aside.tsx"
    write(source, APP)
    write(target, APP)

    def save(text: str) -> None:
        """Write and rename, as an editor does, so that nothing reads half a file."""
        aside.write_text(text, "utf-8")
        aside.rename(source / EDITED)

    async with mirror(source, target):
        with arrivals(target / EDITED) as came:
            yield ChangeSeries(save, came)


async def _polling(bench: Bench) -> ChangeSeries:
    folder, loop = bench.folder(), asyncio.get_running_loop()
    async with plain_backend(folder, bench.port()) as api:
        await api.put(APP)
        async with _agent(bench, folder, api.url) as workspace:
            with arrivals(workspace / EDITED) as came:

                def change(text: str) -> None:
                    asyncio.run_coroutine_threadsafe(api.put({EDITED: text}), loop).result(10)

                way = ChangeSeries(change, came)
                bench.say("change: a few at a 3 s poll")
                await way.run(bench.either(12, 3), _long_rest)
    return way


@asynccontextmanager
async def _agent(bench: Bench, folder: Path, api: str) -> AsyncIterator[Path]:
    """Run an agent with a stand-in for the dev server, which costs nothing. Yields its workspace."""
    workspace = folder / "workspace"
    workspace.mkdir()
    async with agent(bench, workspace, api, DEV_COMMAND=STAND_IN, POLL_INTERVAL="3s") as running:
        await running.ready()
        yield workspace
