"""One tab of a real Chromium, and what a person sees in it.

Nothing here reloads a page: what a tab shows after an edit came by itself. Console errors are those of the document
that is shown; a navigation, also the page's own, starts anew.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from playwright.async_api import Browser, ConsoleMessage, Error, Frame, Page, async_playwright

from scripts.apptable import patience

FLAGS = (
    "--no-sandbox",  # it refuses its sandbox to root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
LOOK_SECONDS = 0.1
LOAD_MS = 60_000

# Next, Vite and Astro draw their overlays in shadow roots, whose text the document's own does not contain.
OVERLAY = """() => {
  const next = document.querySelector("nextjs-portal")?.shadowRoot?.querySelector("[data-nextjs-dialog]");
  const vite = document.querySelector("vite-error-overlay")?.shadowRoot;
  if (!next && !vite) return "";
  const said = next ?? vite.querySelector(".message, #message, #error-overlay") ?? vite.lastElementChild;
  return (said?.innerText || "an overlay without text").slice(0, 1500);
}"""
TEXT = "() => (document.body?.innerText ?? '').slice(0, 20000)"
STYLE = "() => getComputedStyle(document.documentElement).getPropertyValue('--previewed').trim()"
ERROR_PAGE = re.compile(
    r"SyntaxError|Build Error|Failed to compile|Unexpected token|Parsing .*failed|Internal Server Error|Syntax Error",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"https?://[^/\s]+|\?[\w=&.%-]+|[0-9a-f]{8,}|:\d+(:\d+)?")


class NotSeen(Exception):
    """What was expected did not appear. The message says what was seen instead."""


def plain(message: str) -> str:
    """A console error without what differs from run to run: addresses, hashes, line numbers."""
    return " ".join(_VARIABLE.sub("", message).split())[:300]


class Tab:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        self.has_been_live = False
        self.live = False
        """Whether a WebSocket of this document has said something: an edit before that may never reach the page."""
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.console.append(plain(str(error))))
        page.on("framenavigated", self._moved)
        page.on("websocket", lambda socket: socket.on("framereceived", lambda _: self._connected()))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console.append(plain(f"{message.text} {message.location.get('url', '')}"))

    def _moved(self, frame: Frame) -> None:
        if frame == self.page.main_frame:
            self.console.clear()
            self.live = False

    def _connected(self) -> None:
        self.live = self.has_been_live = True

    async def open(self, url: str, within: float) -> None:
        """Go there as soon as something listens. Raises NotSeen."""
        within = patience.seconds(within)
        end = time.monotonic() + within
        why = "nothing was tried"
        while time.monotonic() < end:
            try:
                await self.page.goto(url, wait_until="commit", timeout=min(LOAD_MS, within * 1000))
            except Error as error:
                why = error.message.splitlines()[0]
            else:
                return
            await asyncio.sleep(LOOK_SECONDS)  # nothing tells that a port is open but an attempt
        raise NotSeen(f"{url} could not be opened within {within:.0f} s: {why}")

    @property
    def is_open(self) -> bool:
        return self.page.url.startswith("http")

    async def is_live(self) -> bool:
        return self.live

    async def settle(self, within: float) -> None:
        """Wait for a document that is being replaced to be connected again, where the app's pages connect at all."""
        if self.has_been_live:
            with suppress(NotSeen):
                await until(self.is_live, within)

    async def text(self) -> str:
        return " ".join((await self._ask(TEXT)).replace("\xa0", " ").split())

    async def overlay(self) -> str:
        return await self._ask(OVERLAY)

    async def style(self) -> str:
        return await self._ask(STYLE)

    async def _ask(self, script: str) -> str:
        """An empty answer while the page is between two documents."""
        try:
            async with asyncio.timeout(5):
                return str(await self.page.evaluate(script))
        except (Error, TimeoutError):
            return ""

    async def sees(self, text: str) -> bool:
        return text in await self.text() and not await self.overlay()

    async def shows_error(self) -> bool:
        return bool(await self.overlay()) or bool(ERROR_PAGE.search(await self.text()))

    async def seen(self) -> str:
        """What is there, in one line, for a report."""
        if overlay := await self.overlay():
            return f"an error overlay: {' '.join(overlay.split())[:300]}"
        text = await self.text()
        return f"the page: {text[:300]}" if text else f"an empty page at {self.page.url}"


async def until(
    holds: Callable[[], Awaitable[bool]],
    within: float,
    given_up: Callable[[], Awaitable[str]] | None = None,
) -> float:
    """Seconds until `holds`. `within` is for a machine that does nothing else.

    Raises NotSeen when the time is over, or as soon as `given_up` says why it is vain.
    """
    within = patience.seconds(within)
    began = time.monotonic()
    while not await holds():
        if given_up is not None and (why := await given_up()):
            raise NotSeen(why)
        if time.monotonic() - began > within:
            raise NotSeen(f"not within {within:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)  # the page's own timers and overlays tell nobody
    return time.monotonic() - began


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = next(found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    """In a context of its own: no cookie, no cache of another."""
    context = await browser.new_context()
    try:
        yield Tab(await context.new_page())
    finally:
        await context.close()
