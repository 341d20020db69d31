"""The whole agent with a real Next.js as another user: it serves, it compiles an edit, and its files are its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agent.isolation.sandbox import TASKS_MOST
from tests.conftest import WorkspaceFactory
from tests.peers.plain import plain_backend
from tests.peers.split import NOBODY, needs_split
from tests.peers.stack import Stack, stack

pytestmark = [pytest.mark.next, pytest.mark.timeout(180), needs_split]

PAGE = "export default function Page() {{ return <h1>{}</h1> }}"


def tasks_of(uid: int) -> int:
    return sum(
        p.info["num_threads"] or 0 for p in psutil.process_iter(["uids", "num_threads"]) if p.info["uids"].real == uid
    )


async def page(it: Stack, path: str) -> str:
    async with asyncio.timeout(60), it.session.get(it.url + path) as answer:
        return await answer.text()


async def test_next_serves_and_compiles_as_a_user_without_privileges(
    workspace: WorkspaceFactory, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    project = workspace()
    home = project.parent
    home.chmod(0o755)
    closed = [above for above in project.parents if not above.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"other users cannot reach the workspace: {closed[0]} is closed")
    async with plain_backend(tmp_path, free_port()) as backend:
        await backend.put({"app/page.tsx": PAGE.format("first")})
        async with stack(home, project, backend.url, free_port, DEV_USER=str(NOBODY), POLL_INTERVAL="100ms") as it:
            status = await it.ready()
            assert status["isolation"]["user"] == "nobody"
            assert "first" in await page(it, "/")
            await backend.put({"app/page.tsx": PAGE.format("second"), "app/deep/page.tsx": PAGE.format("new")})
            async with asyncio.timeout(60):
                while "new" not in await page(it, "/deep"):  # noqa: ASYNC110 - nothing tells a visitor that an edit has come
                    await asyncio.sleep(0.1)
            used = tasks_of(NOBODY)
            print(f"{used} processes and threads of {TASKS_MOST}")  # noqa: T201 - for pytest -s
            assert used * 4 < TASKS_MOST
    for path in (project, project / ".next", project / "app" / "page.tsx", project / "app" / "deep"):
        assert path.lstat().st_uid == NOBODY, path
