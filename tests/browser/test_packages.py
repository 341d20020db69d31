"""An app whose packages come, are replaced and go, in a real browser: no import is ever without its package.

Asks the registry for two packages without dependencies: a small one, and one of so many files that whatever is missing
while it is written is seen to be missing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.conftest import TEMPLATE, WorkspaceFactory
from tests.peers.stack import backend, stack

pytestmark = [pytest.mark.long, pytest.mark.next, pytest.mark.browser, pytest.mark.timeout(240)]

CLSX, DATE_FNS = {"clsx": "2.1.1"}, {"date-fns": "4.1.0"}
USES_CLSX = 'import { clsx } from "clsx";\nexport const Word = () => <b id="word">{clsx("with", "clsx")}</b>;\n'
USES_DATE_FNS = (
    'import { isDate } from "date-fns";\n'
    'export const Word = () => <b id="word">{isDate(5) ? "" : "with date-fns"}</b>;\n'
)
USES_NONE = 'export const Word = () => <b id="word">without</b>;\n'
PROJECT = {
    **{name: (TEMPLATE / name).read_text() for name in ("tsconfig.json", "next.config.ts", "postcss.config.mjs")},
    "app/layout.tsx": (TEMPLATE / "app/layout.tsx").read_text(),
    "app/globals.css": (TEMPLATE / "app/globals.css").read_text(),
}
"""What a project of its own has besides its package.json."""
PAGE = 'import { Word } from "@/components/Word";\nexport default function Page() { return <main><Word /></main>; }\n'

# Next draws its overlay in a shadow root, whose changes no observer outside of it is told: so every frame is looked at.
WATCH = """
window.overlays = 0;
(function look() {
  const root = document.querySelector("nextjs-portal")?.shadowRoot;
  if (root?.querySelector("[data-nextjs-dialog]")) window.overlays += 1;
  requestAnimationFrame(look);
})();
"""


def package_json(*more: dict[str, str]) -> str:
    said = json.loads((TEMPLATE / "package.json").read_bytes())
    for packages in more:
        said["dependencies"] |= packages
    return json.dumps(said, indent=2)


def out_of_reach() -> str | None:
    if shutil.which("npm") is None:
        return "npm is not on PATH"
    asked = subprocess.run(["npm", "view", "clsx@2.1.1", "version"], capture_output=True, timeout=60, check=False)
    return None if asked.returncode == 0 else "npm's registry cannot be reached from here"


async def test_no_import_is_ever_without_its_package(
    tmp_path: Path, workspace: WorkspaceFactory, free_port: Callable[[], int], browser: Browser
) -> None:
    if reason := out_of_reach():
        pytest.skip(reason)
    place = workspace()
    async with backend(tmp_path, free_port()) as api:
        await api.put(
            {**PROJECT, "app/page.tsx": PAGE, "components/Word.tsx": USES_NONE, "package.json": package_json()}
        )
        async with stack(place.parent, place, api.url, free_port) as running:
            status = await running.ready()
            assert status["install"]["runs"] == 0, "the template's own packages are there already"
            page = await browser.new_page()
            await page.add_init_script(WATCH)
            await page.goto(running.url)
            word = page.locator("#word")
            await expect(word).to_have_text("without", timeout=60_000)
            pid = status["dev_server"]["pid"]

            async def change(source: str, manifest: str, text: str) -> None:
                revision = await api.put({"components/Word.tsx": source, "package.json": manifest})
                await expect(word).to_have_text(text, timeout=60_000)
                status = await running.applied(revision)
                assert (status["install"]["state"], status["problems"]) == ("idle", []), running.tail()
                assert await page.evaluate("window.overlays") == 0, text

            await change(USES_CLSX, package_json(CLSX), "with clsx")
            assert (place / "node_modules" / "clsx").is_dir()
            await change(USES_DATE_FNS, package_json(DATE_FNS), "with date-fns")
            assert not (place / "node_modules" / "clsx").exists()
            await change(USES_NONE, package_json(), "without")
            assert not (place / "node_modules" / "date-fns").exists()

            await api.put({"components/Word.tsx": USES_CLSX, "package.json": package_json({"no-such-@": "1"})})
            status = await running.until(lambda status: status["install"]["state"] == "failed")
            assert status["problems"][0]["source"] == "install"
            await api.put({"components/Word.tsx": USES_CLSX, "package.json": package_json(CLSX)})
            await expect(word).to_have_text("with clsx", timeout=60_000)
            status = await running.until(lambda status: not status["problems"])
            assert status["dev_server"]["pid"] == pid, "none of it restarted the dev server"
