"""The usual script for this task, as a baseline: inotifywait reports a change, and rsync copies the folder."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from scripts.benches.place import program

SCRIPT = """
"$1" -m -r -e close_write,moved_to,delete "$3" 2>"$5" | while read -r _; do
  while read -r -t 0.001 _; do :; done
  "$2" -a --delete "$3/" "$4/"
done
"""
"""One watcher that is never restarted, so that no change is missed. Changes during a run are copied by the next one."""

READY_SECONDS = 10.0


@asynccontextmanager
async def mirror(source: Path, target: Path) -> AsyncIterator[None]:
    """Keep `target` equal to `source` until the block ends. Raise Absent if one of the programs is missing."""
    output = target.with_name("inotifywait.log")
    output.touch()
    tools = (program("inotifywait", "inotify-tools"), program("rsync", "rsync"))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", SCRIPT, "mirror", *tools, str(source), str(target), str(output)), start_new_session=True
    )
    try:
        async with asyncio.timeout(READY_SECONDS):
            while "Watches established" not in output.read_text():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
