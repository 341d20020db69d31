"""A whole night, for real: control plane, agent, `next dev` and Chromium with tabs that are really hidden.

A machine falls asleep under pages that were left open; nothing of them dials it afterwards; and when a person comes
back to one, it wakes and shows what was there. Between two lives of the agent its port is watched by a listener that
counts, and by the door bell of scripts/dev, which is how a visit starts the agent here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from control.dev.wake_on_connect import wait_for_connection
from tests.conftest import WorkspaceFactory
from tests.peers.counting import counting
from tests.peers.stack import KEY, Backend, Stack, backend, stack
from tests.peers.tabs import tabs

pytestmark = [pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(300)]

SILENCE_SECONDS = float(os.environ.get("SLEEP_SILENCE_SECONDS", "8"))
"""Next's own client dials again within 5 s of a lost socket. The whole proof takes two minutes."""
NIGHTFALL_SECONDS = 90.0
SEEN_MS = 60_000
ASLEEP = "Your preview is asleep"

NOTES = """"use client";
import { useState } from "react";
export default function Notes() {
  const [name, setName] = useState("");
  return <main>
    <input aria-label="name" value={name} onChange={(event) => setName(event.target.value)} />
    <output>{name && `Hello ${name}`}</output>
    <div style={{ height: 3000 }}>tall</div>
  </main>;
}
"""


@dataclass
class Night:
    stack: Stack
    backend: Backend
    window: BrowserContext

    async def open(self, path: str = "/notes") -> Page:
        """A tab in front of the others, its page alive."""
        page = await self.window.new_page()
        await page.bring_to_front()
        await page.goto(self.stack.url + path, timeout=SEEN_MS)
        await page.wait_for_function(
            "Object.keys(document.querySelector('input') ?? {}).some((key) => key.startsWith('__reactProps$'))"
        )
        return page

    async def look_away(self) -> None:
        """Another tab comes to the front."""
        await (await self.window.new_page()).bring_to_front()

    async def ask_for_sleep(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with asyncio.timeout(10), self.stack.session.post(f"{self.stack.admin}/sleep", headers=headers) as answer:
            assert answer.status == 202

    async def falls_asleep(self) -> None:
        async with asyncio.timeout(NIGHTFALL_SECONDS):
            assert await self.stack.agent.child.wait() == 0, self.stack.tail()

    @asynccontextmanager
    async def woken(self) -> AsyncIterator[None]:
        """Who comes while this is open starts the agent, and is passed on to it."""

        async def wake() -> None:
            async with asyncio.timeout(NIGHTFALL_SECONDS):
                visitors = await wait_for_connection(self.stack.port)
                await self.stack.agent.start()
            await visitors.forward()

        async with asyncio.TaskGroup() as group:
            waking = group.create_task(wake())
            yield
            waking.cancel()

    async def reported(self) -> dict[str, Any]:
        """What the backend knows of the machine."""
        url, headers = self.backend.files_url.replace("/files", "/activity"), {"Authorization": f"Bearer {KEY}"}
        async with asyncio.timeout(10), self.stack.session.get(url, headers=headers) as answer:
            known: dict[str, Any] = (await answer.json())["machines"][0]
            return known


@asynccontextmanager
async def night(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int], **environ: str
) -> AsyncIterator[Night]:
    async with backend(tmp_path, free_port()) as files:
        await files.put({"app/notes/page.tsx": NOTES})
        async with stack(tmp_path, workspace(), files.url, free_port, **environ) as agent, tabs() as window:
            await agent.ready()
            yield Night(agent, files, window)


async def test_a_page_that_is_left_open_lets_the_machine_sleep_and_wakes_it_when_somebody_returns(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int]
) -> None:
    async with night(tmp_path, workspace, free_port, IDLE_TIMEOUT="8s") as here:
        page = await here.open("/notes?draft=1#end")
        await page.get_by_label("name").press_sequentially("Ada")
        await page.evaluate("scrollTo(0, 777)")
        await here.look_away()

        await here.falls_asleep()

        assert (await here.reported())["state"] == "sleeping"
        await expect(page.get_by_role("heading", name=ASLEEP)).to_be_attached()
        async with counting(here.stack.port) as came:
            await asyncio.sleep(SILENCE_SECONDS)  # what must not happen has no event
        assert came == []

        async with here.woken():
            await page.bring_to_front()
            await page.wait_for_url(f"{here.stack.url}/notes?draft=1#end", timeout=SEEN_MS)
            await expect(page.get_by_text("Hello Ada")).to_be_visible(timeout=SEEN_MS)
            await until(lambda: page.evaluate("Math.round(scrollY) === 777"))
        assert (await here.stack.status())["idle"]["last_activity"] in {"input", "request"}


async def test_five_tabs_of_which_one_polls_are_silent_once_the_machine_sleeps(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int]
) -> None:
    async with night(tmp_path, workspace, free_port) as here:
        opened = [await here.open(f"/notes?tab={number}") for number in range(5)]
        await opened[0].evaluate("setInterval(() => fetch('/api/none').catch(() => 0), 200); 0")
        await opened[1].evaluate("new EventSource('/api/none'); 0")
        await here.stack.until(lambda status: (status["idle"]["visible"], status["idle"]["hidden"]) == (1, 4))

        await here.ask_for_sleep()
        await here.falls_asleep()

        for page in opened:
            await expect(page.get_by_role("heading", name=ASLEEP)).to_be_attached()
        async with counting(here.stack.port) as came:
            await asyncio.sleep(SILENCE_SECONDS)  # as above
        assert came == []


async def test_somebody_who_comes_during_the_hand_over_finds_the_app(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int]
) -> None:
    async with night(tmp_path, workspace, free_port) as here:
        page = await here.open()
        await page.mouse.click(300, 300)
        awake = await here.stack.until(lambda status: status["idle"]["kind"] == "input")
        assert awake["idle"]["last_activity"] == "input"
        assert awake["idle"]["sentence"].startswith("awake: someone moved the mouse ")
        assert awake["idle"]["sentence"].endswith(" UTC unless used")

        await here.look_away()
        await here.ask_for_sleep()
        await expect(page.get_by_role("heading", name=ASLEEP)).to_be_attached()
        await page.bring_to_front()

        await page.wait_for_url(f"{here.stack.url}/notes", timeout=SEEN_MS)
        await here.stack.until(lambda status: status["phase"] == "running")
        assert here.stack.agent.child.returncode is None


async def until(wanted: Callable[[], Awaitable[bool]]) -> None:
    """Playwright's own waiting evaluates text, which the waking page's policy forbids."""
    async with asyncio.timeout(SEEN_MS / 1000):
        while not await wanted():  # noqa: ASYNC110 - a page has no event for having scrolled
            await asyncio.sleep(0.05)
