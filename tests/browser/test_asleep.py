"""Pages that are left open while the machine sleeps: real Next.js behind a real gateway, real tabs in real Chromium.

The dev server goes on running meanwhile, because it is the gateway's and the page's part that is looked at. After the
gateway has stopped, somebody counts on its port who would have woken the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.conftest import WorkspaceFactory
from tests.peers.counting import counting
from tests.peers.next_dev import next_dev
from tests.peers.standing_gateway import standing_gateway, until
from tests.peers.tabs import Watched, tabs

pytestmark = [pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(300)]

QUIET_SECONDS = 8.0
SEEN_MS = 30_000

FORM = """
    "use client";
    import { useState } from "react";
    export function Form() {
      const [name, setName] = useState("");
      const [size, setSize] = useState("small");
      const [agreed, setAgreed] = useState(false);
      const [color, setColor] = useState("red");
      const [presses, setPresses] = useState(0);
      return (
        <form>
          <button type="button" onClick={() => setPresses(presses + 1)}>pressed {presses} times</button>
          <input aria-label="plain" name="plain" defaultValue="first" />
          <input aria-label="name" value={name} onChange={(event) => setName(event.target.value)} />
          <select aria-label="size" value={size} onChange={(event) => setSize(event.target.value)}>
            <option>small</option><option>large</option>
          </select>
          <input type="checkbox" aria-label="agreed" checked={agreed} onChange={(e) => setAgreed(e.target.checked)} />
          {["red", "blue"].map((one) => (
            <input type="radio" key={one} aria-label={one} name="color" value={one} checked={color === one}
              onChange={() => setColor(one)} />
          ))}
          <textarea aria-label="notes" name="notes" />
          <input type="password" aria-label="secret" name="secret" />
          <input aria-label="card" name="card" autoComplete="cc-number" />
          <output>{`${name}, ${size}, ${agreed}, ${color}`}</output>
        </form>
      );
    }
"""
APP = {
    "app/shop/page.tsx": """
        import { Form } from "../form";
        export default function Page() {
          return (
            <main>
              <h1>The shop</h1>
              <Form />
              <div id="box" style={{ height: 100, overflow: "auto" }}><div style={{ height: 2000 }}>inside</div></div>
              <div style={{ height: 5000 }}>far down</div>
            </main>
          );
        }
    """,
    "app/form.tsx": FORM,
}


def overlay(place: Path) -> Path:
    for name, text in APP.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return place


@pytest.mark.long
async def test_left_open_tabs_sleep_silently_and_come_back_as_they_were(
    workspace: WorkspaceFactory, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """One story, because the dev server's start costs more than all of it, and with webpack's client for hot reload:
    test_sleep.py has Turbopack's, behind the whole agent.
    """
    place, port = workspace(overlay(tmp_path / "app")), free_port()
    async with (
        next_dev(place, port, "webpack"),
        standing_gateway(port) as standing,
        tabs() as window,
    ):
        address = f"http://127.0.0.1:{standing.gateway.port}/shop?from=editor#box"
        used = Watched(window.pages[0])
        await used.page.goto(address, timeout=60_000)
        await it_hydrates_as_if_the_script_were_not_there(used.page)
        assert ("shown", "/shop") in standing.activity
        assert ("input", "pointer") in standing.activity
        await hot_reload_works(used.page, place)
        assert used.complaints == []

        others = []
        for _ in range(2):
            others.append(await window.new_page())
            await others[-1].goto(address)
            await it_hydrates_as_if_the_script_were_not_there(others[-1])
        # Only now: in webpack mode Next reloads the pages that are open when another one is opened after an edit.
        await used.page.bring_to_front()
        await until(lambda: standing.gateway.pages == (1, 2))
        await fill_in(used.page)
        await others[0].bring_to_front()
        await until(lambda: standing.activity[-1] == ("shown", "/shop"))

        public = standing.gateway.port
        standing.board.sleeping()
        assert await standing.gateway.put_pages_to_sleep(5) == 3
        for page in (used.page, *others):
            await expect(page.get_by_role("heading", name="Your preview is asleep")).to_be_attached(timeout=SEEN_MS)
        await standing.gateway.stop()
        async with counting(public) as came:
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
            assert came == []

        standing.board.awake()
        standing.activity.clear()
        await standing.gateway.start(public, "127.0.0.1")
        await used.page.bring_to_front()
        await used.page.wait_for_url(address, timeout=SEEN_MS)
        await all_is_as_it_was(used.page)
        assert standing.activity.count(("navigation", "GET /shop")) == 1
        assert standing.gateway.pages == (1, 0)  # the other tabs sleep on
        assert used.complaints == []


async def it_hydrates_as_if_the_script_were_not_there(page: Page) -> None:
    button = page.get_by_role("button", name="pressed")
    async with asyncio.timeout(30):
        while await button.text_content() == "pressed 0 times":  # clicks do nothing until it has hydrated
            await button.click()
            await asyncio.sleep(0.1)
    assert await page.locator("script[src*=__preview]").count() == 0
    assert await page.evaluate("WebSocket.prototype.constructor === WebSocket && WebSocket.OPEN === 1")


async def fill_in(page: Page) -> None:
    texts = {"plain": "second", "name": "Ada", "notes": "line 1\nline 2", "secret": "s3", "card": "41"}
    for label, text in texts.items():
        await page.get_by_label(label).fill(text)
    await page.get_by_label("size").select_option("large")
    await page.get_by_label("agreed").check()
    await page.get_by_label("blue").check()
    await page.evaluate("document.querySelector('#box').scrollTo(0, 700)")
    await page.evaluate("scrollTo(0, 1234)")


async def hot_reload_works(page: Page, place: Path) -> None:
    file = place / "app/form.tsx"
    aside = place.with_suffix(".staged")
    aside.write_text(file.read_text().replace("pressed {presses}", "pushed {presses}"))
    aside.rename(file)
    await expect(page.get_by_role("button", name="pushed")).not_to_have_text("pushed 0 times", timeout=SEEN_MS)
    aside.write_text(FORM)
    aside.rename(file)
    await expect(page.get_by_role("button", name="pressed")).to_be_attached(timeout=SEEN_MS)


async def all_is_as_it_was(page: Page) -> None:
    await expect(page.get_by_role("status")).to_have_text("Ada, large, true, blue", timeout=SEEN_MS)
    await expect(page.get_by_label("plain")).to_have_value("second")
    await expect(page.get_by_label("notes")).to_have_value("line 1\nline 2")
    await expect(page.get_by_label("secret")).to_have_value("")
    await expect(page.get_by_label("card")).to_have_value("")
    await page.wait_for_function("scrollY === 1234 && document.querySelector('#box').scrollTop === 700")
    await page.wait_for_function("sessionStorage.length === 0")  # nothing is kept for longer than it may be needed
