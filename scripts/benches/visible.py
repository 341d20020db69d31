"""Measures a change at the backend → its text in the page, against rename(2) in the workspace → its text in the page.

Agent, dev server, Chromium and page are the same, and the two alternate on twin components. The clock starts before the
PUT or the rename, and stops when the page's DOM contains the new text, by the page's clock. The offset of the two
clocks is measured before every round, with an error of half the shortest of several round trips.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from playwright.async_api import Page, async_playwright, expect

from scripts.benches import app
from scripts.benches.place import Bench
from scripts.benches.putting import client
from scripts.benches.rows import Budget, Row, median
from scripts.benches.running import agent
from scripts.setup import CHROMIUMS
from tests.conftest import CHROMIUM_FLAGS
from tests.peers.stack import backend

REST_SECONDS = 0.3
SEEN_MS = 20_000
FIRST_MS = 90_000
CLOCK_SAMPLES = 15

WATCH = """
window.seenAt = {};
new MutationObserver(() => {
  const now = performance.now();
  for (const place of document.querySelectorAll("[id$=-client], [id$=-server]"))
    window.seenAt[place.id + " " + place.textContent] ??= now;
}).observe(document, { subtree: true, childList: true, characterData: true });
"""

Change = Callable[[str, str], None]


@dataclass
class Watched:
    page: Page
    to_page: float = 0.0
    """Seconds to add to this process's perf_counter to get the page's clock."""
    ms: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    async def measure_clock_offset(self) -> None:
        shortest = float("inf")
        for _ in range(CLOCK_SAMPLES):
            before = time.perf_counter()
            there = await self.page.evaluate("performance.now()") / 1000
            after = time.perf_counter()
            if after - before < shortest:
                shortest = after - before
                self.to_page = there - (before + after) / 2

    async def see(self, kind: str, twin: str, word: str, change: Change) -> None:
        path, text = app.component(kind, twin, word)
        await asyncio.sleep(REST_SECONDS)
        began = await asyncio.to_thread(_timed, change, path, text)
        key = f"{twin}-{kind} {word}"
        seen = await self.page.wait_for_function("key => window.seenAt[key]", arg=key, timeout=SEEN_MS)
        at = await seen.json_value() / 1000 - self.to_page
        self.ms.setdefault((kind, twin), []).append((at - began) * 1000)


def _timed(change: Change, path: str, text: str) -> float:
    began = time.perf_counter()
    change(path, text)
    return began


async def measure(bench: Bench) -> list[Row]:
    folder, place = bench.folder(), bench.workspace(app.twins("Local"))
    aside = bench.folder() / "aside.tsx"

    def rename(path: str, text: str) -> None:
        aside.write_text(text, "utf-8")
        aside.rename(place / path)

    rounds = bench.either(40, 6)
    async with backend(folder, bench.port()) as api:
        await api.put(app.SHELL | app.twins("Remote"))
        async with agent(bench, place, api.url) as running:
            await running.ready()
            async with _open(running.url) as watched:
                with client(api.url) as connection:
                    bench.say(f"visible: {rounds} rounds of 4 edits")
                    for number in range(rounds):
                        await watched.measure_clock_offset()
                        for kind, twin in _order(number):
                            change = rename if twin == "Local" else connection.put
                            await watched.see(kind, twin, f"word-{number}", change)
    return [_row(watched, kind) for kind in app.KINDS]


def _order(number: int) -> list[tuple[str, str]]:
    """Return A B, then B A, and so on for each kind, so that effects on the next change affect both equally."""
    twins = app.TWINS if number % 2 else app.TWINS[::-1]
    return [(kind, twin) for kind in app.KINDS for twin in twins]


def _row(watched: Watched, kind: str) -> Row:
    through, local = watched.ms[kind, "Remote"], watched.ms[kind, "Local"]
    return Row(
        f"visible_{kind}",
        f"change -> text in the page, {kind} component, p50",
        "ms",
        median(through),
        f"n={len(through)}, from before the PUT to the page's DOM, Chromium through the gateway",
        baseline=median(local),
        against="rename(2) of a twin component in the workspace, same page, alternating",
        budget=Budget(1.15, on="ratio"),
        samples={"backend": through, "rename": local},
    )


@asynccontextmanager
async def _open(url: str) -> AsyncIterator[Watched]:
    """Open the page, and wait until it is hydrated: a click on its button counts."""
    chromium = next(path for name in CHROMIUMS if (path := shutil.which(name)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        try:
            page = await browser.new_page()
            await page.add_init_script(WATCH)
            await page.goto(url, timeout=FIRST_MS)
            button = page.locator("button").first
            await expect(button).to_contain_text("0", timeout=FIRST_MS)
            await button.click()
            await expect(button).to_contain_text("1", timeout=FIRST_MS)
            yield Watched(page)
        finally:
            await browser.close()
