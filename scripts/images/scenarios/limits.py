"""Limits: too little memory, and a full disk."""

from __future__ import annotations

from typing import Any

from scripts.images.scenarios.place import World, Wrong, page

HOG = """\
export const dynamic = "force-dynamic";
export default function Page() {
  const held = [];
  for (let i = 0; i < 64; i++) held.push(Buffer.alloc(32 << 20, i));
  return <p>{held.length}</p>;
}
"""
DISK = "640m"  # the project has 500


async def gigabyte(world: World) -> str:
    """1 GB is enough for the template and some edits"""
    return await _fits("1g", world)


async def half(world: World) -> str:
    """512 MB is enough for the template and some edits"""
    return await _fits("512m", world)


async def _fits(memory: str, world: World) -> str:
    async with world.machine(memory=memory) as machine:
        first = await machine.until_page("the first page")
        for number in range(5):
            await world.backend.put({"app/page.tsx": page(f"edit number {number}.")})
            await machine.until_page(f"edit number {number}.")
        status = await machine.status()
        if status["dev_server"]["crashes"] or not await machine.running():
            raise Wrong(f"the dev server crashed: {status['dev_server']}")
        if await machine.memory_limit() >> 20 != {"1g": 1024, "512m": 512}[memory]:
            raise Wrong("the engine did not set the limit")
        rss = status["dev_server"]["rss_bytes"] / 1e6
        return f"first page {first:.1f} s, 5 edits, the dev server has {rss:.0f} MB"


async def out_of_memory(world: World) -> str:
    """A page takes all memory: the kernel kills Next.js, the agent survives, reports it, and restarts the app"""
    async with world.machine(memory="768m") as machine:
        await machine.until_page("the first page")
        await world.backend.put({"app/hog/page.tsx": HOG})
        await machine.until(lambda status: (status["sync"]["revision"] or 0) >= 2, "the hog is on disk")
        answer, _ = await machine.get("/hog")
        if answer == 200:
            raise Wrong("2 GB fitted into 768 MB")
        await machine.until(lambda status: status["dev_server"]["crashes"] > 0, "the crash is counted")
        await machine.until(lambda status: status["dev_server"]["state"] == "ready", "the dev server is ready again")
        await machine.until_page("the first page")
        status = await machine.status()
        if not await machine.running():
            raise Wrong("the agent ended")
        kills = [repair for repair in status["dev_server"]["repairs"] if "the kernel killed it" in repair["why"]]
        if not kills:
            raise Wrong(f"no repair names the kernel as the cause: {status['dev_server']['repairs']}")
        return f"{kills[0]['why']}; {kills[0]['outcome']}"


async def full_disk(world: World) -> str:
    """The disk fills up: the agent survives, reports it, and continues when there is space"""
    if world.engine.program != "podman":
        return "left out: only podman fills a tmpfs with what the image has in that place"
    mount = f"type=tmpfs,destination=/srv/preview,tmpfs-size={DISK}"
    async with world.machine("--mount", mount, memory="3g") as machine:
        await machine.until_page("the first page")
        fill = "dd if=/dev/zero of=/srv/preview/workspace/full bs=1M 2>/dev/null; df /srv/preview | tail -1"
        await machine.exec("sh", "-c", fill)
        await world.backend.put({"app/large.ts": "// " + "x" * (4 << 20)})
        reports: list[str] = []

        def named(status: dict[str, Any]) -> bool:
            # The agent removes caches, and its next try may succeed. Then only the repairs show the full disk.
            reports.extend(str(problem["message"]) for problem in status["problems"] if _is_full(problem))
            reports.extend(entry["why"] for entry in status["dev_server"]["repairs"] if "disk is full" in entry["why"])
            return bool(reports)

        await machine.until(named, "the full disk is named")
        if not await machine.running():
            raise Wrong("the agent ended")
        await machine.exec("rm", "/srv/preview/workspace/full")
        await machine.until(lambda status: (status["sync"]["revision"] or 0) >= 2, "the file is written at last")
        await world.backend.put({"app/page.tsx": page("there is room again")})
        await machine.until_page("there is room again")
        return reports[0]


def _is_full(problem: dict[str, Any]) -> bool:
    return problem["source"] == "sync" and "space" in problem["message"]
