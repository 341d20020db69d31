"""The loop turned for real: real control plane, real agent, real `next dev`, real Chromium, edits through the backend.

What is looked at is the page: its text, its counter (state that a reload would lose), and every change of its DOM for
Next's red overlay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.async_api import Browser, Page, expect

from tests.conftest import WorkspaceFactory
from tests.peers.plain import Fault, plain_backend
from tests.peers.stack import Stack, backend, stack

pytestmark = [pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(240)]

EDITS = 30
SEEN_MS = 20_000

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000200000001080200000001"
    "cd63a20000000f49444154789c63f8cfc0c0f01f0004ff01fffb1db4b30000000049454e44ae426082"
)

# Next draws its overlay in a shadow root, whose changes no observer outside of it is told: so every frame is looked at.
WATCH = """
window.overlays = 0;
(function look() {
  const root = document.querySelector("nextjs-portal")?.shadowRoot;
  if (root?.querySelector("[data-nextjs-dialog]")) window.overlays += 1;
  requestAnimationFrame(look);
})();
"""


def page_tsx(word: str) -> str:
    return (
        'import { Counter } from "@/components/Counter";\nimport { Server } from "@/components/Server";\n'
        f'export default function Page() {{ return <main><Server /><Counter /><p id="page">{word}</p></main>; }}\n'
    )


def counter_tsx(word: str) -> str:
    return (
        '"use client";\nimport { useState } from "react";\nexport function Counter() {\n'
        "  const [n, set] = useState(0);\n"
        f'  return <button onClick={{() => set(n + 1)}}><i id="client">{word}</i> <b id="n">{{n}}</b></button>;\n}}\n'
    )


def server_tsx(word: str) -> str:
    return f'export function Server() {{ return <h1 id="server">{word}</h1>; }}\n'


APP = {
    "app/page.tsx": page_tsx("first"),
    "components/Counter.tsx": counter_tsx("client-0"),
    "components/Server.tsx": server_tsx("server-0"),
}


class Put(Protocol):
    """One change at the backend."""

    def __call__(self, files: Mapping[str, str | bytes], deleted: tuple[str, ...] = ()) -> Awaitable[int]: ...


@dataclass
class Loop:
    stack: Stack
    page: Page
    put: Put

    async def change(self, files: Mapping[str, str | bytes], deleted: tuple[str, ...] = ()) -> None:
        await self.put(files, deleted)

    async def sees(self, selector: str, text: str) -> None:
        await expect(self.page.locator(selector)).to_have_text(text, timeout=SEEN_MS)

    async def overlays(self) -> int:
        count: int = await self.page.evaluate("window.overlays")
        return count


@pytest.fixture(params=["every extra", "plain form"])
async def loop(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    workspace: WorkspaceFactory,
    free_port: Callable[[], int],
    browser: Browser,
) -> AsyncIterator[Loop]:
    place = workspace()
    folder = place.parent  # the state folder has to be on the workspace's filesystem
    serve = backend if request.param == "every extra" else plain_backend
    async with serve(tmp_path, free_port()) as api:
        await api.put(APP)
        async with (
            stack(folder, place, api.url, free_port, POLL_INTERVAL="500ms") as running,
            _opened(running, browser, api.put) as opened,
        ):
            yield opened


@asynccontextmanager
async def _opened(running: Stack, browser: Browser, put: Put) -> AsyncIterator[Loop]:
    """The app's page, hydrated, with its counter at 1."""
    await running.ready()
    page = await browser.new_page()
    await page.add_init_script(WATCH)
    await page.goto(running.url)
    await expect(page.locator("#page")).to_have_text("first", timeout=60_000)
    await page.locator("main button").click()
    await expect(page.locator("#n")).to_have_text("1", timeout=60_000)
    yield Loop(running, page, put)
    await page.close()


async def test_the_page_follows_whatever_changes_at_the_backend(loop: Loop) -> None:
    """One story for each form, because a dev server's start costs more than all of it."""
    await every_edit_is_seen_without_a_reload(loop)
    await a_batch_never_shows_a_broken_state(loop)
    await loop.sees("#n", "1")
    assert await loop.overlays() == 0

    await a_syntax_error_is_shown_and_reported_until_it_is_mended(loop)
    await a_route_and_an_image_come_and_a_route_goes(loop)
    await loop.sees("#n", "1")


async def every_edit_is_seen_without_a_reload(loop: Loop) -> None:
    edits = EDITS if "wait" in (await loop.stack.status())["sync"]["backend"] else EDITS // 3
    for number in range(1, edits + 1):
        if number % 2:
            await loop.change({"components/Counter.tsx": counter_tsx(f"client-{number}")})
            await loop.sees("#client", f"client-{number}")
        else:
            await loop.change({"components/Server.tsx": server_tsx(f"server-{number}")})
            await loop.sees("#server", f"server-{number}")


async def a_batch_never_shows_a_broken_state(loop: Loop) -> None:
    """An importer and the ten files that it imports, as one change."""
    parts = {f"components/parts/Part{i}.tsx": f"export const Part{i} = () => <u>part {i}</u>;\n" for i in range(10)}
    imports = "".join(f'import {{ Part{i} }} from "@/components/parts/Part{i}";\n' for i in range(10))
    body = "".join(f"<Part{i} />" for i in range(10))
    importer = f'{imports}export function Server() {{ return <h1 id="server">{body}</h1>; }}\n'
    await loop.change({"components/Server.tsx": importer, **parts})
    await loop.sees("#server", "".join(f"part {i}" for i in range(10)))


async def a_syntax_error_is_shown_and_reported_until_it_is_mended(loop: Loop) -> None:
    await loop.change({"components/Server.tsx": 'export function Server() { return <h1 id="server">broken }\n'})
    await loop.page.wait_for_function("window.overlays > 0", timeout=SEEN_MS)
    status = await loop.stack.until(lambda status: bool(status["problems"]))
    problem = status["problems"][0]
    assert (problem["source"], problem["file"]) == ("compile", "components/Server.tsx")
    assert problem["line"] == 1

    await loop.change({"components/Server.tsx": server_tsx("mended")})
    await loop.sees("#server", "mended")
    await loop.stack.until(lambda status: not status["problems"])


async def a_route_and_an_image_come_and_a_route_goes(loop: Loop) -> None:
    await loop.change(
        {"app/about/page.tsx": "export default () => <p id='about'>about us</p>;\n", "public/dot.png": PNG}
    )
    await asyncio.wait_for(_answers(loop, "/about", 200), 60)
    async with loop.stack.session.get(f"{loop.stack.url}/dot.png") as image:
        assert (image.status, await image.read()) == (200, PNG)

    await loop.change({}, ("app/about/page.tsx",))
    await asyncio.wait_for(_answers(loop, "/about", 404), 60)
    assert not (loop.stack.workspace / "app" / "about").exists()


async def _answers(loop: Loop, path: str, status: int) -> None:
    while True:
        async with loop.stack.session.get(loop.stack.url + path) as answer:
            await answer.read()
            if answer.status == status:
                return
        await asyncio.sleep(0.1)  # a route that is not there yet has no event


async def test_the_page_stays_up_while_the_backend_fails_and_follows_when_it_is_back(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int], browser: Browser
) -> None:
    place = workspace()
    faults: tuple[tuple[Fault, str], ...] = (
        ("500", "backend"),
        ("429", "throttled"),
        ("cut off", "unreachable"),
        ("html", "bad_answer"),
    )
    async with plain_backend(tmp_path, free_port()) as api:
        await api.put(APP)
        async with (
            stack(place.parent, place, api.url, free_port, POLL_INTERVAL="250ms") as running,
            _opened(running, browser, api.put) as loop,
        ):
            for number, (fault, code) in enumerate(faults):
                api.fault = fault
                status = await running.until(lambda status, code=code: _code(status) == code)  # type: ignore[misc]
                assert any(problem["source"] == "sync" for problem in status["problems"])
                await loop.sees("#n", "1")
                await loop.change({"components/Server.tsx": server_tsx(f"after {number}")})
                api.fault = None
                await loop.sees("#server", f"after {number}")

            api.fault = "empty"
            status = await running.until(lambda status: status["sync"]["state"] == "held")
            assert status["sync"]["files"] == len(APP)
            await loop.page.reload()
            await loop.sees("#server", "after 3")
            api.fault = None
            await running.until(lambda status: status["sync"]["state"] == "current" and not status["problems"])


async def test_the_page_stays_up_while_the_backend_is_gone_and_follows_when_it_is_back(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int], browser: Browser
) -> None:
    place = workspace()
    async with backend(tmp_path, free_port()) as api:
        await api.put(APP)
        async with (
            stack(place.parent, place, api.url, free_port) as running,
            _opened(running, browser, api.put) as loop,
        ):
            await api.process.stop()
            await running.until(lambda status: _code(status) == "unreachable")
            await loop.page.reload()
            await loop.sees("#server", "server-0")
            await api.start()
            await api.put({"components/Server.tsx": server_tsx("back again")})
            await loop.sees("#server", "back again")


def _code(status: dict[str, Any]) -> str | None:
    failure = status["sync"]["failure"]
    return failure["code"] if failure else None
