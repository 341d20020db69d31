"""Use: edits, a new package, and a read-only root."""

from __future__ import annotations

import json
import time

from scripts.images.engine import ROOT
from scripts.images.scenarios.place import World, Wrong, page

EDITS = 20
ADDED, VERSION = "clsx", "2.1.1"  # a package of one file, without dependencies
CONFIGURATION = ("tsconfig.json", "next.config.ts", "postcss.config.mjs")
USES = f"""\
import {{ clsx }} from "{ADDED}";
export default function Page() {{ return <p>{{clsx("a package", false, "was added")}}</p>; }}
"""


async def edits(world: World) -> str:
    """Twenty edits at the backend, each seen in the page's own HTML"""
    async with world.machine() as machine:
        await machine.until_page("the first page")
        took = []
        for number in range(EDITS):
            begun = time.monotonic()
            await world.backend.put({"app/page.tsx": page(f"edit number {number}.")})
            await machine.until_page(f"edit number {number}.", within=30)
            took.append(time.monotonic() - begun)
        return f"{sorted(took)[EDITS // 2]:.2f} s each, {max(took):.2f} s at most"


async def read_only(world: World) -> str:
    """With a read-only root it writes only to a volume at /srv/preview and a tmpfs at /tmp"""
    volume = world.volume()
    words = ("--read-only", "--tmpfs", "/tmp:size=64m", "--volume", f"{volume}:/srv/preview")
    async with world.machine(*words) as machine:
        first = await machine.until_page("the first page")
        await world.backend.put({"app/page.tsx": page("written to the volume"), "app/new/page.tsx": page("and new")})
        await machine.until_page("written to the volume")
        await machine.until_page("and new", "/new")
        refused = await machine.exec("sh", "-c", "touch /opt/agent/x /etc/x /x 2>&1 || true")
        if refused.count("Read-only file system") != 3:
            raise Wrong(f"its root filesystem is writable: {refused!r}")
        return f"first page {first:.1f} s, edits and a new page"


async def package(world: World) -> str:
    """A package is added to package.json together with the page that uses it, and the page is shown"""
    template = ROOT / "runtime/next-template"
    # A set with a package.json gets no file of the template.
    whole = {
        name: (template / name).read_text("utf-8") for name in ("app/layout.tsx", "app/globals.css", *CONFIGURATION)
    }
    project = json.loads((template / "package.json").read_text("utf-8"))
    project["dependencies"][ADDED] = VERSION
    async with world.machine() as machine:
        await machine.until_page("the first page")
        begun = time.monotonic()
        await world.backend.put({**whole, "package.json": json.dumps(project, indent=2), "app/page.tsx": USES})
        await machine.until_page("a package was added")
        took = time.monotonic() - begun
        owner = await machine.exec("stat", "--format", "%U", f"/workspace/node_modules/{ADDED}/package.json")
        if owner != "preview":
            raise Wrong(f"the installed package belongs to {owner}")
        return f"{ADDED} {VERSION} after {took:.1f} s, installed by {owner}"
