"""A Chromium whose tabs are hidden and shown as a person's are.

The browser that Playwright starts itself keeps every page visible. Here it is started by us and only connected to.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright

from tests.conftest import CHROMIUM_FLAGS, _missing


@asynccontextmanager
async def tabs() -> AsyncIterator[BrowserContext]:
    """One window; `bring_to_front` of one of its pages hides the others."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        _missing("no Chromium on PATH: on Debian and Ubuntu, apt-get install chromium")
    profile = Path(tempfile.mkdtemp(prefix="tabs-"))
    flags = (*CHROMIUM_FLAGS, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}")
    process = await asyncio.create_subprocess_exec(
        chromium, *flags, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True)
            yield browser.contexts[0]
            await browser.close()
    finally:
        process.terminate()
        await process.wait()
        await asyncio.to_thread(shutil.rmtree, profile, ignore_errors=True)


async def _port(file: Path) -> int:
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.05)  # nothing tells that it listens but this file
            with suppress(FileNotFoundError, ValueError):
                number, _ = (await asyncio.to_thread(file.read_text)).splitlines()
                return int(number)


class Watched:
    """A page, and all that it complained about in its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _said(self, message: ConsoleMessage) -> None:
        # Next in webpack mode may reload a page once more while its socket is being opened: Chromium's word for that.
        left = "WebSocket is closed before the connection is established" in message.text
        if message.type in {"error", "warning"} and not left:
            self.complaints.append(message.text)
