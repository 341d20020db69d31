"""Measures the first sync of 5,000 files and its peak memory, against `tar x` of the same files on the same disk.

The time is from `sync.opened` (the agent requests the files next) to `sync.applied` (the set is on disk and recorded)
in the agent's log. Another row includes the start of Python. Nothing is deleted between the runs, because some
filesystems create files ten times slower for a while after many deletions.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import tarfile
import time
from datetime import datetime
from pathlib import Path

import orjson

from scripts.benches.place import STAND_IN, Bench, write
from scripts.benches.rows import Budget, Row, median
from scripts.benches.running import agent
from tests.peers.stack import Backend, Stack, backend

FILES = 5_000
WHOLE_BYTES = 17_000_000
IN_ONE_CALL = 500
WORDS = ("const", "export", "return", "function", "import", "from", "props", "children", "state", "await", "className")


def files() -> dict[str, str]:
    """Return sources of different lengths in folders of 20, the same on every machine."""
    made_by = random.Random(17)
    sizes = [made_by.lognormvariate(0, 0.8) for _ in range(FILES)]
    scale = WHOLE_BYTES / sum(sizes)
    block = " ".join(made_by.choices(WORDS, k=20_000))
    made = {}
    for number, size in enumerate(sizes):
        length = max(40, round(size * scale))
        at = made_by.randrange(max(1, len(block) - length))
        made[f"src/part{number // 500}/group{number // 20 % 25}/File{number}.tsx"] = (
            f"// {number}\n" + block[at:][:length]
        )
    return made


async def measure(bench: Bench) -> list[Row]:
    sources = files()
    folder = bench.folder()
    archive = folder / "set.tar"
    await asyncio.to_thread(_pack, folder / "packed", archive, sources)
    ours: dict[str, list[float]] = {"sync": [], "exec": [], "peak": []}
    tar: list[float] = []
    runs = bench.either(7, 2)
    async with backend(folder, bench.port()) as api:
        await _fill(api, sources)
        for number in range(1, runs + 1):
            bench.say(f"sync: {FILES} files, {runs - number + 1} runs to go")
            tar.append(await _untar(bench, archive))
            for name, value in (await _first_sync(bench, api.url)).items():
                ours[name].append(value)
    size = sum(map(len, sources.values())) / 1e6
    how = f"median of {runs}, {FILES:,} files, {size:.1f} MB, streamed over loopback"
    return [
        Row(
            "sync",
            "first sync, 5,000 files",
            "s",
            median(ours["sync"]),
            f"{how}, from sync.opened to sync.applied in the agent's log",
            baseline=median(tar),
            against="tar x of the same files, same disk, alternating, both after a sync(2)",
            budget=Budget(2, on="ratio"),
            samples={"sync": ours["sync"], "tar": tar},
        ),
        Row(
            "sync_exec",
            "  the same from the agent's exec",
            "s",
            median(ours["exec"]),
            f"{how}, until /status shows it",
            samples={"exec": ours["exec"]},
        ),
        Row(
            "sync_peak",
            "first sync, the agent's peak RSS",
            "MiB",
            max(ours["peak"]),
            f"maximum of {runs}, VmHWM of the agent's process once the set is on disk",
            budget=Budget(64),
            samples={"peak": ours["peak"]},
        ),
    ]


def _pack(folder: Path, archive: Path, sources: dict[str, str]) -> None:
    write(folder, sources)
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname=".")


async def _fill(api: Backend, sources: dict[str, str]) -> None:
    paths = list(sources)
    for at in range(0, len(paths), IN_ONE_CALL):
        await api.put({path: sources[path] for path in paths[at : at + IN_ONE_CALL]})


async def _untar(bench: Bench, archive: Path) -> float:
    target = bench.folder()
    await asyncio.to_thread(os.sync)  # writes of the previous run must not slow this one down
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec("tar", "xf", str(archive), "-C", str(target))
    async with asyncio.timeout(120):
        status = await process.wait()
    if status:
        raise RuntimeError(f"tar ended with status {status}")
    return time.perf_counter() - began


async def _first_sync(bench: Bench, api: str) -> dict[str, float]:
    folder = bench.folder()
    (folder / "workspace").mkdir()
    await asyncio.to_thread(os.sync)
    began = time.perf_counter()
    async with agent(bench, folder / "workspace", api, DEV_COMMAND=STAND_IN) as running:
        await running.until(lambda status: status["sync"]["applied_at"] is not None, within=120)
        took = time.perf_counter() - began
        return {"sync": _by_the_log(running), "exec": took, "peak": _peak(running.agent.child.pid)}


def _by_the_log(running: Stack) -> float:
    at: dict[str, datetime] = {}
    for line in running.agent.log.read_text("utf-8").splitlines():
        event = orjson.loads(line)
        at.setdefault(event["event"], datetime.fromisoformat(event["timestamp"]))
    return (at["sync.applied"] - at["sync.opened"]).total_seconds()


def _peak(pid: int) -> float:
    """Return the peak RSS in MiB."""
    found = re.search(r"^VmHWM:\s+([0-9]+) kB$", Path(f"/proc/{pid}/status").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise RuntimeError("/proc does not show the peak memory of a process here")
    return int(found[1]) / 1024
