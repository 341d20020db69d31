"""The gateway in front of real Next.js, looked at by real Chromium in an iframe on another site."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.conftest import CHROMIUM_FLAGS, WorkspaceFactory, _missing
from tests.peers.next_dev import next_dev
from tests.peers.scripted_server import answering, scripted_server
from tests.peers.standing_gateway import Standing, fields, standing_gateway, status

pytestmark = [pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(180)]

APP = {
    "app/page.tsx": """
        import { Clicker } from "./clicker";
        export default function Page() { return <main><h1>The app</h1><Clicker /></main>; }
    """,
    "app/clicker.tsx": """
        "use client";
        import { useActionState, useState } from "react";
        import { greet } from "./actions";
        export function Clicker() {
          const [count, setCount] = useState(0);
          const [answer, act] = useActionState(greet, "nothing yet");
          return (
            <>
              <button onClick={() => setCount(count + 1)}>clicked {count} times</button>
              <form action={act}><input name="name" aria-label="name" /><button type="submit">greet</button></form>
              <output>{answer}</output>
            </>
          );
        }
    """,
    "app/actions.ts": """
        "use server";
        export async function greet(_: string, data: FormData) { return `hello ${data.get("name")}`; }
    """,
    "app/go/route.ts": """
        import { NextResponse } from "next/server";
        export function GET(request: Request) { return NextResponse.redirect(new URL("/?went", request.url)); }
    """,
}


@pytest.fixture
async def far_browser() -> AsyncIterator[Browser]:
    """A Chromium for which every name is this machine, so that two sites are two sites."""
    chromium = shutil.which("chromium")
    if chromium is None:
        _missing("no Chromium on PATH: on Debian and Ubuntu, apt-get install chromium")
    async with async_playwright() as playwright:
        flags = [*CHROMIUM_FLAGS, "--host-resolver-rules=MAP * 127.0.0.1"]
        running = await playwright.chromium.launch(executable_path=chromium, args=flags)
        yield running
        await running.close()


def overlay(place: Path) -> Path:
    for name, text in APP.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return place


def replaced(file: Path, old: str, new: str) -> None:
    """As the agent writes: beside the project first, then into its place at once."""
    aside = file.parents[1].with_suffix(".staged")
    aside.write_text(file.read_text().replace(old, new))
    aside.rename(file)


async def test_a_preview_in_an_iframe_wakes_hydrates_reloads_and_acts(
    workspace: WorkspaceFactory, tmp_path: Path, far_browser: Browser, free_port: Callable[[], int]
) -> None:
    place, port = workspace(overlay(tmp_path / "app")), free_port()
    async with standing_gateway(port, "starting") as standing:
        address = f"http://preview.example:{standing.gateway.port}/?from=editor#there"
        html = b"<!doctype html><iframe src='%b' width=900 height=700></iframe>" % address.encode()
        page_of_editor = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (
            len(html),
            html,
        )
        async with scripted_server(answering(page_of_editor)) as editor:
            page = await far_browser.new_page()
            await page.goto(f"http://editor.test:{editor.port}/")
            frame = page.frame_locator("iframe")
            await expect(frame.get_by_role("heading", name="Waking up your preview")).to_be_visible()
            async with next_dev(place, port):
                standing.becomes("ready")
                await expect(frame.get_by_role("heading", name="The app")).to_be_visible(timeout=20_000)
                assert page.frames[1].url == address

                button = frame.get_by_role("button", name="clicked")
                async with asyncio.timeout(20):
                    while await button.text_content() != "clicked 2 times":  # clicks do nothing until it has hydrated
                        await button.click()
                        await asyncio.sleep(0.1)
                        if await button.text_content() == "clicked 1 times":
                            await button.click()

                replaced(place / "app/clicker.tsx", "clicked {count}", "pressed {count}")
                await expect(frame.get_by_role("button", name="pressed 2 times")).to_be_visible(timeout=20_000)

                await frame.get_by_label("name").fill("Ada")
                await frame.get_by_role("button", name="greet").click()
                await expect(frame.get_by_text("hello Ada")).to_be_visible(timeout=20_000)
                assert ("app_request", "POST /") in standing.activity

                await redirects_stay_outside(standing)
                await a_restart_goes_unnoticed(standing, place)


def framing(address: str) -> bytes:
    """An editor's page with the preview in it."""
    html = f"<!doctype html><iframe src='{address}' width=900 height=700></iframe>".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(html), html)


async def redirects_stay_outside(standing: Standing) -> None:
    head, _ = await standing.ask(b"GET /go HTTP/1.1\r\nHost: preview.example\r\nConnection: close\r\n\r\n")
    assert (status(head), fields(head)["location"]) == (307, "/?went")


async def a_restart_goes_unnoticed(standing: Standing, place: Path) -> None:
    """Next restarts itself for a changed configuration and refuses connections meanwhile."""
    replaced(place / "next.config.ts", "export default", "// changed\nexport default")
    async with asyncio.timeout(30):
        for _ in range(20):
            head, body = await standing.ask(b"GET / HTTP/1.1\r\nHost: preview.example\r\nConnection: close\r\n\r\n")
            assert status(head) == 200
            assert b"The app" in body
            await asyncio.sleep(0.1)
