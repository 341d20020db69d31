"""Pages of the app that go about things in ways of their own, and sleep all the same; in real Chromium."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_asleep_page import PAGE, QUIET_SECONDS, Place, asleep, place
from tests.peers.counting import counting
from tests.peers.small_app import small_app
from tests.peers.standing_gateway import until
from tests.peers.tabs import tabs

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HEAD = "<!doctype html><html><head><title>app</title><link rel=icon href='data:,'>"
PAGES = {
    "based elsewhere": HEAD + "<base href='http://elsewhere.invalid/app/'></head><h1>The app</h1></html>",
    "refreshed by itself": HEAD + "<meta http-equiv=refresh content=1></head><h1>The app</h1></html>",
    "reloading": HEAD + "<script>setTimeout(() => location.reload(), 150)</script></head><h1>The app</h1></html>",
    "beacons": HEAD
    + """<script>
        const ask = window.fetch, beacon = navigator.sendBeacon.bind(navigator);
        for (const type of ['pagehide', 'visibilitychange', 'unload', 'freeze']) addEventListener(type, () => {
          ask('/late?' + type, { method: 'POST', keepalive: true }); beacon('/beacon?' + type, 'x'); });
        </script></head><h1>The app</h1></html>""",
    "in a frame": HEAD + "</head><h1>The app</h1><iframe src='/inner'></iframe></html>",
    "worker": HEAD
    + """<script>
        const code = `setInterval(() => fetch("${location.origin}/work"), 100);
            new WebSocket("ws://${location.host}/ws");`;
        for (const Kind of [Worker, SharedWorker]) new Kind(URL.createObjectURL(new Blob([code])));
        </script></head><h1>The app</h1></html>""",
    "without a head": "<h1>The app</h1><p>text",
    "a route of its own": """<p>The app</p>
        <script>setInterval(() => fetch('/poll'), 100); new EventSource('/poll')</script>""",
    "service worker": HEAD
    + "<script>navigator.serviceWorker.register('/sw.js')</script></head><h1>The app</h1></html>",
}
BACK = PAGE.replace('fetch("/ping"); location.reload();', "").replace(
    "window.ends", 'addEventListener("pageshow", (event) => (window.kept = event.persisted)); window.ends', 1
)
INNER = HEAD + "<script>setInterval(() => fetch('/poll'), 100)</script></head><p>inside</p></html>"


async def test_pages_of_every_kind_sleep_and_ask_for_nothing() -> None:
    """All in one window, because it is the silence that takes its time. Who breaks it is told by the path."""
    async with place(INNER) as here, tabs() as window:
        opened = {f"/{kind.replace(' ', '-')}": html for kind, html in PAGES.items()}
        here.app.pages.update(opened, **{"/inner": INNER})
        pages = {}
        for path in opened:
            pages[path] = await window.new_page()
            await pages[path].bring_to_front()
            await pages[path].goto(f"{here.url}{path}?a#b")
            await until(lambda: here.standing.gateway.pages[0] > 0)
        await window.new_page()
        await until(lambda: here.standing.gateway.pages[0] == 0)
        await here.sleep()
        for page in pages.values():
            await asleep(page)
        port = here.standing.gateway.port
        await asyncio.sleep(QUIET_SECONDS)  # the machine stays for longer, and what is late finds it
        await here.standing.gateway.stop()
        async with counting(port) as came:
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
        assert came == []
        here.wake()
        await here.standing.gateway.start(port, "127.0.0.1")
        for path, page in pages.items():
            await page.bring_to_front()
            await page.wait_for_url(f"{here.url}{path}?a#b")


async def test_a_tab_that_is_too_busy_to_hear_in_time_wakes_nothing() -> None:
    async with place(BACK) as here, tabs() as window:
        page = window.pages[0]
        await page.goto(here.url + "/shop?a#b")
        await page.get_by_label("name").fill("Ada")
        await window.new_page()
        await until(lambda: here.standing.gateway.pages == (0, 1))
        port = here.standing.gateway.port
        async with asyncio.TaskGroup() as group:
            group.create_task(page.evaluate("{ const now = Date.now(); while (Date.now() - now < 2000); }"))
            await asyncio.sleep(0.2)  # nothing tells that it does not listen any more
            assert await here.sleep(0.3) == 1
            await here.standing.gateway.stop()
        async with counting(port) as came:
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
            assert came == []
        await comes_back(here, page, port)


async def leave(page: Page, by: str) -> None:
    """Not at once: what asks a page for something must not find it gone before its answer."""
    await page.evaluate(f"setTimeout(() => {by}); 0")


async def test_what_the_browser_keeps_for_its_back_button_is_silent_and_alive_when_it_is_seen_again() -> None:
    async with place(BACK) as here, small_app({"/": INNER}) as elsewhere, tabs() as window:
        page, gateway = window.pages[0], here.standing.gateway
        await page.goto(here.url)
        await page.goto(here.url + "/shop")
        await until(lambda: gateway.pages == (1, 0))  # and not one more that nobody sees
        await page.goto(f"http://127.0.0.1:{elsewhere.port}")
        await until(lambda: gateway.pages == (0, 0))
        assert await here.sleep() == 0
        port = gateway.port
        await gateway.stop()
        async with counting(port) as came:
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
            assert came == []
        here.wake()
        await gateway.start(port, "127.0.0.1")
        here.standing.activity.clear()
        await leave(page, "history.back()")
        await until(lambda: gateway.pages == (1, 0))
        await page.wait_for_function("window.kept === true")  # also while Playwright still hears of the page before
        assert here.standing.activity == [("shown", "/shop")]

        # From the asleep page, which is on screen, back to a page before it and forward again.
        assert await here.sleep() == 1
        await asleep(page)
        here.wake()
        await leave(page, "history.back()")
        await page.wait_for_url(here.url + "/", wait_until="commit")
        await until(lambda: gateway.pages == (1, 0))
        await leave(page, "history.forward()")
        await page.wait_for_url(here.url + "/shop", wait_until="commit")
        await until(lambda: gateway.pages == (1, 0))


async def test_a_frozen_tab_wakes_nothing_when_it_is_thawed_unseen() -> None:
    html = PAGE.replace('fetch("/ping"); location.reload();', "")
    async with place(html) as here, tabs() as window:
        page = window.pages[0]
        await page.goto(here.url + "/shop?a#b")
        await page.get_by_label("name").fill("Ada")
        await window.new_page()
        await until(lambda: here.standing.gateway.pages == (0, 1))
        devtools = await window.new_cdp_session(page)
        await devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
        await here.sleep(0.3)
        port = here.standing.gateway.port
        await here.standing.gateway.stop()
        async with counting(port) as came:
            await devtools.send("Page.setWebLifecycleState", {"state": "active"})
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
            assert came == []
        await comes_back(here, page, port)


async def comes_back(here: Place, page: Page, port: int) -> None:
    """The machine is there again, and somebody looks at the tab: it is as it was."""
    here.wake()
    await here.standing.gateway.start(port, "127.0.0.1")
    await page.bring_to_front()
    await expect(page.get_by_label("name")).to_have_value("Ada", timeout=10_000)
    await page.wait_for_url(f"{here.url}/shop?a#b")
