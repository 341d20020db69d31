"""What becomes of the files that a workspace starts with, on a real disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.backend_client import Place, syncing
from tests.peers.backend_honest import HonestBackend, serving

TEMPLATE = {
    "package.json": b'{"name":"template"}',
    "package-lock.json": b"{}",
    "next.config.ts": b"template's",
    "postcss.config.mjs": b"template's",
    "app/layout.tsx": b"template's layout",
    "app/globals.css": b"template's css",
    "app/page.tsx": b"waiting",
}
CONFIGURATION = {path: data for path, data in TEMPLATE.items() if "/" not in path}
PAGE = {"src/app/page.tsx": b"own", "src/app/layout.tsx": b"own layout"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for path, data in TEMPLATE.items():
        (place.workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (place.workspace / path).write_bytes(data)
    (place.workspace / "node_modules/next").mkdir(parents=True)
    (place.workspace / "node_modules/next/package.json").write_bytes(b"{}")
    return place


def files(place: Place) -> dict[str, bytes]:
    return {path: data for path, data in place.files().items() if not path.startswith("node_modules/")}


async def test_a_whole_project_finds_no_file_of_the_template_and_its_packages_stay_to_be_judged(place: Place) -> None:
    backend = HonestBackend()
    backend.put({"package.json": b'{"name":"own"}', **PAGE})
    async with serving(backend), syncing(place, backend) as client:
        await client.until(lambda client: client.applied)
        assert files(place) == {"package.json": b'{"name":"own"}', **PAGE}
        assert not (place.workspace / "app").exists(), "an empty root app folder would hide src/app"
        assert (place.workspace / "node_modules/next/package.json").exists()
        assert client.problems == ()


async def test_the_template_comes_and_goes_with_what_the_app_lacks(place: Place) -> None:
    backend = HonestBackend()
    backend.put({"components/Word.tsx": b"own"})
    async with serving(backend), syncing(place, backend) as client:
        await client.until(lambda client: client.applied)
        assert files(place) == {**TEMPLATE, "components/Word.tsx": b"own"}

        async def change(new: dict[str, bytes], *deleted: str) -> dict[str, bytes]:
            before = len(client.applied)
            backend.put(dict(new), deleted)
            await client.until(lambda client: len(client.applied) > before)
            return {path: data for path, data in files(place).items() if path != "components/Word.tsx"}

        assert await change({"app/page.tsx": b"own"}) == {**TEMPLATE, "app/page.tsx": b"own"}
        moved = {**CONFIGURATION, "src/app/page.tsx": b"own"} | {
            f"src/{path}": TEMPLATE[path] for path in ("app/layout.tsx", "app/globals.css")
        }
        assert await change({"src/app/page.tsx": b"own"}, "app/page.tsx") == moved
        old = {**CONFIGURATION, "pages/index.tsx": b"old"}
        assert await change({"pages/index.tsx": b"old"}, "src/app/page.tsx") == old
        whole = {"package.json": b'{"name":"own"}', "pages/index.tsx": b"old"}
        assert await change({"package.json": b'{"name":"own"}'}) == whole
        assert await change({}, "package.json") == old
        assert await change({}, "pages/index.tsx") == TEMPLATE
        assert client.problems == ()


async def test_the_template_is_still_known_after_a_restart(place: Place) -> None:
    backend = HonestBackend()
    backend.put({"package.json": b"{}", **PAGE})
    async with serving(backend), syncing(place, backend) as client:
        await client.until(lambda client: client.applied)
    async with serving(backend), syncing(place, backend) as client:
        await client.until(lambda client: client.applied)
        backend.put({}, ("package.json",))
        await client.until(lambda client: len(client.applied) == 2)
        assert files(place) == {**CONFIGURATION, **PAGE}


async def test_a_workspace_with_somebodys_own_project_in_it_is_left_alone(place: Place) -> None:
    for number in range(600):
        (place.workspace / f"note-{number}.txt").write_bytes(b"mine")
    before = files(place)
    backend = HonestBackend()
    backend.put({"package.json": b"{}", **PAGE})
    async with serving(backend), syncing(place, backend) as client:
        await client.until(lambda client: client.applied)
        assert files(place) == before | {"package.json": b"{}", **PAGE}
