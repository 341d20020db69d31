"""An agent that runs while something is measured, and is gone afterwards with all that it started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.benches.place import Bench
from tests.peers.stack import Stack, stack


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
