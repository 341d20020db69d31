"""The script in the app's pages and the asleep page, in real Chromium behind a real gateway; the app is a small one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.peers.counting import counting
from tests.peers.scripted_server import answering, scripted_server
from tests.peers.small_app import SmallApp, small_app
from tests.peers.standing_gateway import Standing, standing_gateway, until
from tests.peers.tabs import Watched, tabs

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

QUIET_SECONDS = 1.5
"""More than Next's client waits before it dials again."""
LATER_MS = 20_000
"""Where no React is, the script waits three seconds for one."""

# Like Next's own client: dials again when its socket ends, and reloads the page when that fails too often.
PAGE = """<!doctype html><html><head><title>app</title><link rel="icon" href="data:,"></head>
<body style="height: 5000px">
<h1>The app</h1><label>name <input name="name"></label> <input type="checkbox" aria-label="tick">
<iframe hidden></iframe>
<script>
  window.ends = 0;
  function dial() {
    const socket = new WebSocket("ws://" + location.host + "/_next/hmr?id=1");
    socket.onclose = () => { window.ends += 1; setTimeout(dial, 50); fetch("/ping"); location.reload(); };
  }
  dial();
</script></body></html>"""
ASLEEP = "Your preview is asleep"


@dataclass
class Place:
    app: SmallApp
    standing: Standing

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.standing.gateway.port}"

    async def sleep(self, within: float = 5) -> int:
        self.standing.board.sleeping()
        return await self.standing.gateway.put_pages_to_sleep(within)

    def wake(self) -> None:
        self.standing.board.awake()


@asynccontextmanager
async def place(html: str = PAGE) -> AsyncIterator[Place]:
    async with small_app({"/": html, "/shop": html}) as app, standing_gateway(app.port) as standing:
        yield Place(app, standing)


async def asleep(page: Page) -> None:
    await expect(page.get_by_role("heading", name=ASLEEP)).to_be_attached()


async def test_input_is_told_at_most_every_15_seconds_and_only_a_persons(browser: Browser) -> None:
    async with place() as here:
        page = await browser.new_page()
        await page.clock.install()
        await page.goto(here.url)
        await until(lambda: here.standing.gateway.pages == (1, 0))

        def inputs() -> list[str]:
            return [source for kind, source in here.standing.activity if kind == "input"]

        await page.evaluate("for (let i = 0; i < 9; i++) dispatchEvent(new WheelEvent('wheel'))")
        await page.keyboard.press("a")
        await until(lambda: inputs() == ["key"])
        await page.mouse.wheel(0, 100)
        await page.clock.fast_forward(14_000)
        await page.keyboard.press("b")
        await page.clock.fast_forward(1_100)
        await page.mouse.wheel(0, 100)
        await until(lambda: inputs() == ["key", "wheel"])
        await page.clock.fast_forward(15_100)
        await page.mouse.move(100, 100)  # where it is, is no movement yet
        await page.keyboard.press("c")
        await until(lambda: inputs() == ["key", "wheel", "key"])
        await page.clock.fast_forward(15_100)
        await page.mouse.move(110, 100)
        await until(lambda: inputs() == ["key", "wheel", "key", "pointer"])


async def test_a_lost_socket_is_dialled_again_only_for_a_person(browser: Browser) -> None:
    html = '<!doctype html><title>quiet</title><link rel="icon" href="data:,"><h1>The app</h1>'
    async with place(html) as here:
        page = await browser.new_page()
        await page.clock.install()
        await page.goto(here.url)
        await until(lambda: here.standing.gateway.pages == (1, 0))
        port = here.standing.gateway.port
        await here.standing.gateway.stop()
        async with counting(port) as came:
            await page.clock.fast_forward(60_000)
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
            assert came == []
            await page.keyboard.press("a")
            await until(lambda: len(came) == 1)
            for _ in range(5):
                await page.keyboard.press("a")
            await page.clock.fast_forward(14_000)
            await page.keyboard.press("a")
            await asyncio.sleep(0.2)  # as above
            assert len(came) == 1
            await page.clock.fast_forward(1_100)
            await page.keyboard.press("a")
            await until(lambda: len(came) == 2)
            assert all(first.startswith(b"GET /__preview/live?path=%2F ") for first in came if first)


@pytest.mark.parametrize("told", ["over its own socket", "by the end of hot reload"])
async def test_the_asleep_page_comes_and_nothing_of_the_app_goes_on(told: str, browser: Browser) -> None:
    async with place() as here:
        watched = Watched(await browser.new_page())
        page = watched.page
        if told == "by the end of hot reload":  # as when the other socket was lost before
            await page.add_init_script("""
              const Native = WebSocket;
              window.WebSocket = class extends Native {
                constructor(url, ...more) { super(String(url).replace("/__preview/live", "/other"), ...more); }
              };
            """)
        await page.goto(here.url)
        await page.evaluate("history.pushState(null, '', '/shop?a=1#there')")  # as a router in the browser does
        await page.get_by_label("name").fill("Ada")
        await page.evaluate("addEventListener('beforeunload', (event) => event.preventDefault())")
        await page.mouse.click(300, 300)  # from now on the browser would ask whether to leave
        page.on("dialog", lambda dialog: dialog.dismiss())
        await page.evaluate("setInterval(() => fetch('/shop'), 20)")
        await until(lambda: {"/_next/hmr", "/shop"} <= set(here.app.asked))
        still_asked: list[int] = []

        async def slowly(route: Route) -> None:
            for _ in range(2):
                await asyncio.sleep(0.3)  # what was asked before arrives, and after that nothing
                still_asked.append(len(here.app.asked))
            await route.continue_()

        await page.route("**/__preview/asleep**", slowly)
        assert await here.sleep() == (1 if told == "over its own socket" else 0)
        await asleep(page)
        assert still_asked[0] == still_asked[1]
        port = here.standing.gateway.port
        await here.standing.gateway.stop()
        async with counting(port) as came:
            await asyncio.sleep(QUIET_SECONDS)
            assert came == []
        here.wake()
        await here.standing.gateway.start(port, "127.0.0.1")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{here.url}/shop?a=1#there")
        await expect(page.get_by_label("name")).to_have_value("Ada", timeout=10_000)
        assert watched.complaints == []


async def test_a_lost_hot_reload_socket_is_the_apps_own_affair(browser: Browser) -> None:
    html = PAGE.replace('setTimeout(dial, 50); fetch("/ping"); location.reload();', "")
    async with place(html) as here:
        page = await browser.new_page()
        await page.goto(here.url)
        await until(lambda: "/_next/hmr" in here.app.asked)
        await here.standing.gateway.stop()
        await page.wait_for_function("window.ends === 1")
        await expect(page.get_by_role("heading", name="The app")).to_be_visible()


async def test_a_hidden_page_that_lost_its_machine_does_not_dial_until_it_is_seen() -> None:
    html = PAGE.replace('fetch("/ping"); location.reload();', "")
    async with place(html) as here, tabs() as window:
        page = window.pages[0]
        await page.goto(here.url)
        await until(lambda: here.app.asked.count("/_next/hmr") == 1)
        await window.new_page()
        await until(lambda: here.standing.gateway.pages == (0, 1))
        port = here.standing.gateway.port
        await here.standing.gateway.stop()
        await page.wait_for_function("window.ends === 1", polling=100)
        async with counting(port) as came:
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
            assert came == []
        await here.standing.gateway.start(port, "127.0.0.1")
        await page.bring_to_front()
        await until(lambda: here.app.asked.count("/_next/hmr") == 2)
        assert await page.evaluate("window.ends") == 2


@pytest.mark.parametrize("way", ["click", "key", "button"])
async def test_a_click_or_a_key_wakes_it_by_one_navigation(way: str, browser: Browser) -> None:
    async with place() as here:
        page = await browser.new_page()
        here.standing.board.sleeping()
        await page.goto(f"{here.url}/__preview/asleep?to=%2Fshop%3Fb%23c")
        for shortcut in ("Shift", "Control", "Alt", "Control+ArrowLeft"):  # they lead elsewhere
            await page.keyboard.press(shortcut)
        await asleep(page)
        here.wake()
        await {
            "click": lambda: page.mouse.click(5, 5),
            "key": lambda: page.keyboard.press("Space"),
            "button": lambda: page.get_by_role("link", name="Wake it up").click(),
        }[way]()
        await page.wait_for_url(f"{here.url}/shop?b#c")
        assert [kind for kind, _ in here.standing.activity].count("navigation") == 1


async def test_it_wakes_when_its_tab_comes_back_and_f5_does_too() -> None:
    async with place() as here, tabs() as window:
        page = window.pages[0]
        await page.goto(f"{here.url}/shop")
        other = await window.new_page()
        await until(lambda: here.standing.gateway.pages == (0, 1))
        assert await here.sleep() == 1
        await asleep(page)
        here.standing.activity.clear()
        here.wake()
        await page.bring_to_front()
        await page.wait_for_url(f"{here.url}/shop")
        await until(lambda: here.standing.gateway.pages == (1, 0))
        assert here.standing.activity.count(("navigation", "GET /shop")) == 1
        await here.sleep()
        await asleep(page)
        here.wake()
        await page.reload()
        await page.wait_for_url(f"{here.url}/shop")
        await other.close()


async def test_it_works_in_a_sandboxed_frame(browser: Browser) -> None:
    async with place() as here:
        html = f"<!doctype html><iframe sandbox='allow-scripts' src='{here.url}/shop' width=900 height=700></iframe>"
        whole = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
        async with scripted_server(answering(whole % (len(html), html.encode()))) as editor:
            watched = Watched(await browser.new_page())
            await watched.page.goto(f"http://127.0.0.1:{editor.port}/")
            frame = watched.page.frame_locator("iframe")
            await frame.get_by_label("name").fill("Ada")
            await until(lambda: here.standing.gateway.pages == (1, 0))
            assert await here.sleep() == 1
            await expect(frame.get_by_role("heading", name=ASLEEP)).to_be_visible()
            here.wake()
            await frame.get_by_role("link", name="Wake it up").click()
            await expect(frame.get_by_role("heading", name="The app")).to_be_visible()
            assert watched.complaints == []


async def test_a_strict_policy_of_the_app_is_kept(browser: Browser) -> None:
    html = "<!doctype html><html><head><title>strict</title></head><body><h1>The app</h1></body></html>"
    async with place(html) as here:
        here.app.headers["Content-Security-Policy"] = "default-src 'none'; script-src 'nonce-xyz'; connect-src 'self'"
        watched = Watched(await browser.new_page())
        await watched.page.goto(here.url)
        await until(lambda: here.standing.gateway.pages == (1, 0))
        assert await here.sleep() == 1
        await asleep(watched.page)
        assert [said for said in watched.complaints if "favicon" not in said] == []


async def test_what_a_person_does_meanwhile_counts_for_more(browser: Browser) -> None:
    async with place() as here:
        page = await browser.new_page()
        await page.goto(f"{here.url}/shop")
        await page.get_by_label("name").fill("before")
        await page.get_by_label("tick").check()
        await page.evaluate("scrollTo(0, 900)")
        await here.sleep()
        await asleep(page)
        here.wake()
        await page.mouse.click(5, 5)
        await page.wait_for_url(f"{here.url}/shop")
        await page.get_by_label("name").press_sequentially("after")
        await expect(page.get_by_label("tick")).to_be_checked(timeout=LATER_MS)
        await expect(page.get_by_label("name")).to_have_value("after")
        await page.reload()  # as Next does when its server has compiled anew
        await expect(page.get_by_label("tick")).to_be_checked(timeout=LATER_MS)
        await expect(page.get_by_label("name")).to_have_value("after")
        await page.goto(f"{here.url}/shop")  # to a page that is opened anew nothing is done
        assert await page.evaluate("sessionStorage.length") == 0


async def test_a_waking_page_rests_when_the_machine_sleeps_and_a_key_wakes_it(browser: Browser) -> None:
    async with place() as here:
        here.standing.becomes("starting")
        page = await browser.new_page()
        await page.goto(f"{here.url}/shop")
        await expect(page.get_by_role("heading", name="Waking up your preview")).to_be_visible()
        await until(lambda: bool(here.standing.gateway._front and here.standing.gateway._front._lasting))
        await here.sleep()
        await asleep(page)
        here.wake()
        here.standing.becomes("ready")
        await page.keyboard.press("Alt")
        await asleep(page)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="The app")).to_be_visible()


async def test_without_scripts_a_waking_page_can_be_read_and_turns_into_the_app(browser: Browser) -> None:
    async with place() as here:
        here.standing.becomes("starting")
        page = await (await browser.new_context(java_script_enabled=False)).new_page()
        await page.goto(f"{here.url}/shop?a=1#there")
        await expect(page.get_by_role("heading", name="Waking up your preview")).to_be_visible()
        here.standing.becomes("ready")
        await expect(page.get_by_role("heading", name="The app")).to_be_visible()
        assert page.url == f"{here.url}/shop?a=1"
        assert here.standing.activity[-1] == ("navigation", "GET /shop")


async def test_an_editor_that_is_isolated_from_other_sites_shows_every_page(browser: Browser) -> None:
    isolated = {"Opener": "same-origin", "Embedder": "require-corp"}
    headers = {f"Cross-Origin-{name}-Policy": value for name, value in isolated.items()}
    async with place() as here:
        there = f"http://localhost:{here.standing.gateway.port}/shop"  # another origin than the editor's
        async with small_app({"/": f"<!doctype html><iframe src={there} width=900 height=700></iframe>"}) as editor:
            editor.headers.update(headers)
            here.app.headers.update(headers | {"Cross-Origin-Resource-Policy": "cross-origin"})
            here.standing.becomes("starting")
            page = await browser.new_page()
            await page.goto(f"http://127.0.0.1:{editor.port}")
            assert await page.evaluate("crossOriginIsolated")
            frame = page.frame_locator("iframe")
            await expect(frame.get_by_role("heading", name="Waking up your preview")).to_be_visible()
            here.standing.becomes("ready")
            await expect(frame.get_by_role("heading", name="The app")).to_be_visible()
            await until(lambda: here.standing.gateway.pages == (1, 0))
            await here.sleep()
            await expect(frame.get_by_role("heading", name=ASLEEP)).to_be_visible()
            here.wake()
            await page.frames[1].evaluate("location.reload()")  # leads back by a redirect
            await expect(frame.get_by_role("heading", name="The app")).to_be_visible()
            await page.goto("about:blank")
