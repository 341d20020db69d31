"""An app of Next's Pages Router, left open while the machine sleeps: real Next.js behind a real gateway, in Chromium.

It hydrates another element, brings its data in another way and has a hot reload of its own; test_asleep.py has the App
Router's story.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_asleep import QUIET_SECONDS, SEEN_MS
from tests.conftest import WorkspaceFactory
from tests.peers.counting import counting
from tests.peers.next_dev import next_dev
from tests.peers.standing_gateway import standing_gateway, until
from tests.peers.tabs import Watched, tabs

pytestmark = [pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(300)]

APP = {
    "pages/_app.tsx": """
        import type { AppProps } from "next/app";
        export default function App({ Component, pageProps }: AppProps) {
          return <div id="shell"><Component {...pageProps} /></div>;
        }
    """,
    "pages/_document.tsx": """
        import { Head, Html, Main, NextScript } from "next/document";
        export default function Document() {
          return (
            <Html lang="en">
              <Head><link rel="icon" href="data:," /></Head>
              <body><Main /><NextScript /></body>
            </Html>
          );
        }
    """,
    "pages/index.tsx": """
        import { useState } from "react";
        export const getServerSideProps = async () => ({ props: { from: "the server" } });
        export default function Page({ from }: { from: string }) {
          const [name, setName] = useState("");
          const [agreed, setAgreed] = useState(false);
          return (
            <form>
              <h1>From {from}</h1>
              <input aria-label="name" value={name} onChange={(event) => setName(event.target.value)} />
              <input aria-label="plain" name="plain" defaultValue="first" />
              <input type="checkbox" aria-label="agreed" checked={agreed}
                onChange={(event) => setAgreed(event.target.checked)} />
              <output>{`${name}, ${agreed}`}</output>
              <div style={{ height: 5000 }}>far down</div>
            </form>
          );
        }
    """,
    "pages/api/hello.ts": """
        import type { NextApiRequest, NextApiResponse } from "next";
        export default (_: NextApiRequest, answer: NextApiResponse) => answer.json({ hello: true });
    """,
}


@pytest.mark.parametrize("bundler", ["turbopack", "webpack"])
async def test_a_page_of_the_pages_router_sleeps_and_comes_back_as_it_was(
    bundler: str, workspace: WorkspaceFactory, free_port: Callable[[], int]
) -> None:
    place, port = workspace(), free_port()
    shutil.rmtree(place / "app")
    for name, text in APP.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    async with next_dev(place, port, bundler), standing_gateway(port) as standing, tabs() as window:
        address = f"http://127.0.0.1:{standing.gateway.port}/?from=editor#there"
        used = Watched(window.pages[0])
        page = used.page
        await page.goto(address, timeout=60_000)
        await page.wait_for_function(
            "Object.keys(document.querySelector('input')).some((key) => key.startsWith('__reactProps$'))"
        )
        await until(lambda: standing.gateway.pages == (1, 0))
        await hot_reload_works(page, place)
        await page.get_by_label("name").fill("Ada")
        await page.get_by_label("plain").fill("second")
        await page.get_by_label("agreed").check()
        await page.evaluate("scrollTo(0, 1234)")
        await window.new_page()
        await until(lambda: standing.gateway.pages == (0, 1))

        public = standing.gateway.port
        standing.board.sleeping()
        assert await standing.gateway.put_pages_to_sleep(5) == 1
        await expect(page.get_by_role("heading", name="Your preview is asleep")).to_be_attached(timeout=SEEN_MS)
        await standing.gateway.stop()
        async with counting(public) as came:
            await asyncio.sleep(QUIET_SECONDS)  # what must not happen has no event
            assert came == []

        standing.board.awake()
        await standing.gateway.start(public, "127.0.0.1")
        await page.bring_to_front()
        await page.wait_for_url(address, timeout=SEEN_MS)
        await expect(page.get_by_role("status")).to_have_text("Ada, true", timeout=SEEN_MS)
        await expect(page.get_by_label("plain")).to_have_value("second")
        await page.wait_for_function("scrollY === 1234")
        assert await page.evaluate("fetch('/api/hello').then((answer) => answer.json())") == {"hello": True}
        assert used.complaints == []


async def hot_reload_works(page: Page, place: Path) -> None:
    file, aside = place / "pages/index.tsx", place.with_suffix(".staged")
    await page.get_by_label("name").fill("kept")
    aside.write_text(APP["pages/index.tsx"].replace("From {from}", "Still from {from}"))
    aside.rename(file)
    await expect(page.get_by_role("heading", name="Still from the server")).to_be_visible(timeout=SEEN_MS)
    await expect(page.get_by_role("status")).to_have_text("kept, false")
