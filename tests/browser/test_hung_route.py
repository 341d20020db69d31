"""A page of the app that never finishes, on the real thing: the rest of the preview has to live on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.conftest import WorkspaceFactory
from tests.peers.stack import backend, stack

pytestmark = [pytest.mark.long, pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(420)]

SEEN_MS = 150_000
HUNG_SECONDS = 50
"""It is noticed within 8 s, and ended after 30 s of silence; the rest is for a busy machine."""
MENDED_SECONDS = 20

HOME = 'export default function Page() {\n  return <p id="home">home</p>;\n}\n'
LOOP = "export default function Page() {\n  while (true) {}\n}\n"
SLOW = """export const dynamic = "force-dynamic";

export default async function Page() {
  await new Promise((done) => setTimeout(done, 45_000));
  return <p id="slow">slow</p>;
}
"""


def fine(word: str) -> str:
    return f'export default function Page() {{\n  return <p id="fine">{word}</p>;\n}}\n'


APP = {"app/page.tsx": HOME, "app/loop/page.tsx": fine("finite"), "app/other/page.tsx": fine("other")}


def told(status: dict[str, Any], words: str) -> bool:
    return any(words in problem["message"] for problem in status["problems"])


async def test_a_route_that_never_finishes_is_named_and_kept_away_until_files_change(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int], browser: Browser
) -> None:
    place = workspace()
    async with backend(tmp_path, free_port()) as api:
        await api.put(APP)
        async with stack(place.parent, place, api.url, free_port, POLL_INTERVAL="500ms") as running:
            await running.ready()
            tab = await browser.new_page()
            await tab.goto(f"{running.url}/loop?any=1", timeout=SEEN_MS)
            await expect(tab.locator("#fine")).to_have_text("finite", timeout=SEEN_MS)

            # An open tab follows its page into the loop. Nobody has to do anything.
            await api.put({"app/loop/page.tsx": LOOP})
            begun = time.monotonic()
            await running.until(lambda now: told(now, "/loop has kept the dev server busy for"), HUNG_SECONDS)
            status = await running.until(lambda now: now["dev_server"]["hung_routes"], HUNG_SECONDS)
            assert time.monotonic() - begun < HUNG_SECONDS
            assert status["dev_server"]["hung_routes"] == ["/loop"]
            assert status["dev_server"]["crashes"] == 0
            await running.ready()
            other = await browser.new_page()
            await other.goto(f"{running.url}/other", timeout=SEEN_MS)
            await expect(other.locator("#fine")).to_have_text("other", timeout=SEEN_MS)
            await other.goto(f"{running.url}/loop", timeout=SEEN_MS)
            await expect(other.locator("h1")).to_have_text("/loop never finishes", timeout=SEEN_MS)
            assert told(await running.status(), "/loop is not rendered again until a file changes")

            # The page comes by itself, in the tab that shows why it does not.
            await api.put({"app/loop/page.tsx": fine("mended")})
            await expect(other.locator("#fine")).to_have_text("mended", timeout=SEEN_MS)
            assert not told(await running.status(), "/loop")


async def test_a_mended_route_is_shown_within_seconds_by_the_tab_that_hangs(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int], browser: Browser
) -> None:
    place = workspace()
    async with backend(tmp_path, free_port()) as api:
        await api.put(APP | {"app/loop/page.tsx": LOOP})
        async with stack(place.parent, place, api.url, free_port, POLL_INTERVAL="500ms") as running:
            await running.ready()
            tab = await browser.new_page()
            await tab.goto(running.url, timeout=SEEN_MS)
            await expect(tab.locator("#home")).to_have_text("home", timeout=SEEN_MS)
            await tab.evaluate("() => { setTimeout(() => location.assign('/loop'), 0); }")
            await running.until(lambda now: told(now, "/loop has kept the dev server busy for"), HUNG_SECONDS)
            await api.put({"app/loop/page.tsx": fine("mended")})
            status = await running.until(lambda now: now["dev_server"]["restarts"] == 1, MENDED_SECONDS)
            assert (status["dev_server"]["hung_routes"], status["dev_server"]["crashes"]) == ([], 0)
            await expect(tab.locator("#fine")).to_have_text("mended", timeout=SEEN_MS)


async def test_a_page_that_waits_for_a_slow_service_is_no_loop(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int], browser: Browser
) -> None:
    place = workspace()
    async with backend(tmp_path, free_port()) as api:
        await api.put({"app/page.tsx": HOME, "app/slow/page.tsx": SLOW})
        async with stack(place.parent, place, api.url, free_port, POLL_INTERVAL="500ms") as running:
            await running.ready()
            tab = await browser.new_page()
            await tab.goto(f"{running.url}/slow", timeout=SEEN_MS)
            await expect(tab.locator("#slow")).to_have_text("slow", timeout=SEEN_MS)
            status = await running.status()
            assert (status["dev_server"]["restarts"], status["dev_server"]["hung_routes"]) == (0, [])
