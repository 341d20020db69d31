from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import get_args

import pytest

from agent.admin.status_json import encode
from agent.app_paths import relative_to
from agent.error_line import ErrorLine
from agent.status import (
    DevServerFacts,
    DevServerState,
    Failure,
    FileFacts,
    InstallFacts,
    Phase,
    Problem,
    Snapshot,
    SyncFacts,
    SyncState,
    missing,
    phase,
    unhealthy,
)
from agent.status_board import StatusBoard

FIRST = Snapshot(app_id="shop", machine="m1", started_at="2026-11-22T10:00:00.000Z", version="0")
SYNCED = SyncFacts(state="current", applied_at="2026-11-22T10:00:01.000Z")
READY = DevServerFacts(state="ready", reason="it answers", ready_at="2026-11-22T10:00:02.000Z")
RUNNING = replace(FIRST, sync=SYNCED, dev_server=READY)


def test_packages_that_could_not_be_installed_degrade_what_runs() -> None:
    assert phase(replace(RUNNING, install=InstallFacts("failed", reason="no such package"))) == "degraded"
    assert phase(replace(RUNNING, install=InstallFacts("running"))) == "running"
    assert unhealthy(replace(RUNNING, install=InstallFacts("failed"))) is None, "no restart of the machine mends it"


class TestPhase:
    @pytest.mark.parametrize(
        ("sync", "server", "expected"),
        [
            (SyncFacts(), DevServerFacts(), "starting"),
            (SYNCED, DevServerFacts(state="starting"), "starting"),
            (SyncFacts(), READY, "starting"),
            (SYNCED, READY, "running"),
            (replace(SYNCED, state="held"), READY, "degraded"),
            (replace(SYNCED, state="failing"), READY, "degraded"),
            (SYNCED, replace(READY, state="restarting"), "degraded"),
            (SYNCED, replace(READY, state="unresponsive"), "degraded"),
            (SYNCED, DevServerFacts(state="failed"), "degraded"),
        ],
    )
    def test_it_follows_from_the_facts(self, sync: SyncFacts, server: DevServerFacts, expected: Phase) -> None:
        assert phase(replace(FIRST, sync=sync, dev_server=server)) == expected

    def test_stopping_wins_over_everything(self) -> None:
        assert phase(replace(RUNNING, stopping=True)) == "stopping"

    def test_every_pair_of_states_has_one(self) -> None:
        for sync in get_args(SyncState):
            for server in get_args(DevServerState):
                now = replace(RUNNING, sync=replace(SYNCED, state=sync), dev_server=replace(READY, state=server))
                assert (phase(now) == "running") == ((sync, server) == ("current", "ready"))


class TestHealth:
    @pytest.mark.parametrize("state", get_args(DevServerState))
    def test_only_a_server_that_was_given_up_is_unhealthy(self, state: DevServerState) -> None:
        now = replace(RUNNING, dev_server=DevServerFacts(state=state, reason="5 crashes in 10 minutes"))
        assert (unhealthy(now) is not None) == (state == "failed")

    def test_it_says_why(self) -> None:
        now = replace(RUNNING, dev_server=DevServerFacts(state="failed", reason="5 crashes in 10 minutes"))
        assert unhealthy(now) == "the dev server gave up: 5 crashes in 10 minutes"

    def test_a_silent_backend_is_healthy(self) -> None:
        failure = Failure("unreachable", "connection refused", "2026-11-22T10:00:00.000Z", 9, None)
        assert unhealthy(replace(RUNNING, sync=replace(SYNCED, state="failing", failure=failure))) is None


class TestReadiness:
    def test_nothing_is_missing_once_files_are_on_disk_and_the_server_answers(self) -> None:
        assert missing(RUNNING) == ()

    def test_a_silent_backend_does_not_take_it_away(self) -> None:
        assert missing(replace(RUNNING, sync=replace(SYNCED, state="failing"))) == ()

    def test_it_names_everything_that_it_waits_for(self) -> None:
        failure = Failure("unauthorized", "the key is wrong", "2026-11-22T10:00:00.000Z", 1, None)
        now = replace(FIRST, sync=SyncFacts(state="failing", failure=failure), stopping=True)
        assert missing(now) == (
            "the first sync is not on disk: the key is wrong",
            "the dev server is waiting: not started yet",
            "the agent is stopping",
        )


class TestBoard:
    def test_each_room_writes_only_its_own_facts(self) -> None:
        board = StatusBoard(FIRST)
        board.sync(SYNCED)
        board.dev_server(READY)
        board.stopping()
        assert board.snapshot == replace(RUNNING, stopping=True)

    def test_problems_of_one_source_are_replaced_whole_and_others_stay(self) -> None:
        board = StatusBoard(FIRST)
        refused = Problem("sync", "a/../b is refused", file="a/../b")
        broken = Problem("compile", "Expected ','", file="app/page.tsx", line=12, column=5)
        board.problems("sync", (refused,))
        board.problems("compile", (broken, broken))
        assert list(board.snapshot.problems) == [refused, broken, broken]
        board.problems("compile", ())
        assert list(board.snapshot.problems) == [refused]

    def test_the_root_cause_comes_first_whenever_it_was_told(self) -> None:
        board = StatusBoard(FIRST)
        for source in ("runtime", "compile", "dev_server", "sync", "install"):
            board.problems(source, (Problem(source, "x"),))
        board.files(FileFacts(broken=(Problem("install", "y"),)))
        sources = [problem.source for problem in board.snapshot.problems]
        assert sources == ["install", "install", "sync", "dev_server", "compile", "runtime"]

    def test_a_fault_in_a_file_is_told_once_for_one_place(self) -> None:
        board = StatusBoard(FIRST)
        board.problems("install", (Problem("install", "of the installer", "package.json", 1, 12),))
        found = FileFacts(faulty=(Problem("install", "of the file", "package.json", 1, 12),))
        board.files(found)
        assert [problem.message for problem in board.snapshot.problems] == ["of the installer"]
        board.problems("install", ())
        assert [problem.message for problem in board.snapshot.problems] == ["of the file"]

    def test_a_text_of_another_program_is_told_without_the_machines_paths(self) -> None:
        board = StatusBoard(FIRST, relative_to(["/srv/workspace"]))
        error = ErrorLine("no /srv/workspace/a.ts", "/srv/workspace/b.ts:1", ("- /srv/workspace/c.ts",))
        board.dev_server(DevServerFacts(reason="in /srv/workspace/x", error=error))
        board.install(InstallFacts("failed", reason="at /srv/workspace/p.json"))
        board.problems("compile", (Problem("compile", "not in /srv/workspace/d.ts", "/srv/workspace/e.ts"),))
        assert b"/srv" not in encode(board.snapshot)

    async def test_a_waiter_is_woken_by_a_change_and_gets_the_newest(self) -> None:
        board = StatusBoard(FIRST)
        waiters = [asyncio.ensure_future(board.newer(FIRST)) for _ in range(3)]
        await asyncio.sleep(0)
        board.sync(SYNCED)
        board.dev_server(READY)
        async with asyncio.timeout(5):
            assert await asyncio.gather(*waiters) == [RUNNING] * 3

    async def test_one_who_is_behind_does_not_wait(self) -> None:
        board = StatusBoard(FIRST)
        board.sync(SYNCED)
        async with asyncio.timeout(5):
            assert (await board.newer(FIRST)).sync == SYNCED

    async def test_saying_the_same_again_wakes_nobody(self) -> None:
        board = StatusBoard(FIRST)
        waiter = asyncio.ensure_future(board.newer(FIRST))
        await asyncio.sleep(0)
        board.sync(FIRST.sync)
        board.problems("sync", ())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiter.done()
        waiter.cancel()
