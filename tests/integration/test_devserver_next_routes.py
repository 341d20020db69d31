"""The real Next.js, whose folders of routes move while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.next_app import LAYOUT, Run, page, routes, runner

pytestmark = [pytest.mark.long, pytest.mark.next, pytest.mark.timeout(240)]


@pytest.fixture
def run(
    workspace: Callable[..., Path], free_port: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setattr("tests.peers.dev_server.WAIT_SECONDS", 60.0)
    return runner(workspace, free_port, tmp_path / "state")


@pytest.mark.parametrize(
    ("before", "after"),
    [("app", "src/app"), ("src/app", "app"), ("pages", "app"), ("app", "pages"), ("pages", "src/pages")],
)
async def test_routes_that_move_to_another_folder_are_served_from_there(run: Run, before: str, after: str) -> None:
    old = routes(before, "the first")
    async with run(old) as app:
        await app.shows("the first")
        app.apply(routes(after, "the second"), tuple(old))
        await app.shows("the second")
        app.apply(routes(after, "the third"))  # and it is watched
        await app.shows("the third")

        assert (app.board.now.restarts, app.board.now.crashes) == (1, 0)
        assert any(f"the routes are in {after} now" in facts.reason for facts in app.board.states)


async def test_a_webpack_server_is_restarted_as_well(run: Run) -> None:
    old = routes("app", "the first")
    async with run(old, bundler="--webpack") as app:
        await app.shows("the first")
        app.apply(routes("src/app", "the second"), tuple(old))
        await app.shows("the second")


async def test_a_page_deleted_in_one_set_and_written_below_src_in_the_next_is_served(run: Run) -> None:
    old = routes("app", "the first")
    async with run(old) as app:
        app.apply({}, tuple(old))
        app.apply(routes("src/app", "the second"))
        await app.shows("the second")
        assert app.board.now.crashes == 0


@pytest.mark.parametrize(("first", "second"), [("app", "pages"), ("pages", "app"), ("src/app", "src/pages")])
async def test_the_first_folder_of_the_other_router_is_served(run: Run, first: str, second: str) -> None:
    def other(word: str) -> dict[str, str]:
        if second.endswith("pages"):
            return {f"{second}/other.jsx": page(word)}
        return {f"{second}/layout.jsx": LAYOUT, f"{second}/other/page.jsx": page(word)}

    async with run(routes(first, "the first")) as app:
        app.apply(other("the second"))
        await app.shows("the second", "/other")
        await app.shows("the first")
        app.apply({}, tuple(other("")))  # gone again: the first one stands alone
        await app.shows("the first")
        assert app.board.now.crashes == 0


async def test_a_folder_that_comes_back_to_its_place_is_served_by_a_new_start(run: Run) -> None:
    old = routes("app", "the first")
    async with run(old) as app:
        await app.shows("the first")
        app.apply({}, tuple(old))
        app.apply(routes("app", "the second"))
        await app.shows("the second")
        app.apply(routes("app", "the third"))
        await app.shows("the third")

        assert app.board.now.restarts == 1
