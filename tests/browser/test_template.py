"""The template by itself: real Next.js, real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page

from tests.conftest import ROOT, TEMPLATE, WorkspaceFactory
from tests.peers.next_dev import next_dev

pytestmark = [pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(120)]


class Watched:
    """A page and what it complained about or asked of strangers."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._request(request.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _request(self, url: str) -> None:
        if urlsplit(url).hostname not in {"127.0.0.1", None}:
            self.strangers.append(url)


async def test_a_new_workspace_shows_the_waiting_page_and_asks_nothing_of_the_network(
    workspace: WorkspaceFactory, browser: Browser, free_port: Callable[[], int]
) -> None:
    place = workspace()
    async with next_dev(place, free_port()) as url:
        watched = Watched(await browser.new_page())
        await watched.page.goto(url, wait_until="networkidle")
        heading = watched.page.get_by_role("heading", name="Waiting for the first files")
        await heading.wait_for(timeout=10_000)
        assert watched.complaints == []
        assert watched.strangers == []
    # Next completes a tsconfig.json that lacks something, which would be an edit of the app's own files.
    assert (place / "tsconfig.json").read_bytes() == (TEMPLATE / "tsconfig.json").read_bytes()
    assert not (place / "AGENTS.md").exists()


async def test_the_sample_app_follows_an_edit_and_keeps_its_count(
    workspace: WorkspaceFactory, browser: Browser, free_port: Callable[[], int]
) -> None:
    place = workspace(ROOT / "examples" / "counter")
    async with next_dev(place, free_port()) as url:
        watched = Watched(await browser.new_page())
        await watched.page.goto(url, wait_until="networkidle")
        more = watched.page.get_by_role("button", name="I drank a glass")
        await more.click()
        await more.click()
        today = place / "components" / "Today.tsx"
        edited = place.with_suffix(".staged")
        edited.write_text(today.read_text().replace("A glass at a time", "Two glasses in"))
        await asyncio.to_thread(edited.replace, today)
        await watched.page.get_by_role("heading", name="Two glasses in").wait_for(timeout=10_000)
        assert await watched.page.get_by_text("2", exact=True).is_visible()
        assert watched.complaints == []
        assert watched.strangers == []
