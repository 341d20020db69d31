"""Processes that run the sync room for real, to be killed or measured: `python -m tests.peers.backend_victim URL HOME`.

It imports everything once. Each line on standard input forks one agent, whose process id is printed; `measure` runs one
to its first applied set and prints the peak of its memory in MiB.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NoReturn

import structlog

from agent.sync.loop import Timing
from tests.peers.backend_client import Place, syncing
from tests.peers.backend_honest import HonestBackend

TIMING = Timing(poll_interval=0.05, long_poll_wait=20)


async def _live(url: str, home: Path) -> None:
    backend = HonestBackend()
    backend.url = url
    async with syncing(Place(home), backend, timing=TIMING) as client:
        await client.until(lambda client: client.applied)
        if sys.argv[3:] != ["measure"]:
            await asyncio.Event().wait()  # until it is killed


def _victim(url: str, home: Path) -> NoReturn:
    try:
        asyncio.run(_live(url, home))
    finally:
        os._exit(1)


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    url, home = sys.argv[1], Path(sys.argv[2])
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    if sys.argv[3:] == ["measure"]:
        asyncio.run(_live(url, home))
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        _say(int(peak.split()[1]) / 1024)
        return
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _victim(url, home)
        _say(pid)
        os.waitpid(pid, 0)
        _say("ended")


if __name__ == "__main__":
    main()
