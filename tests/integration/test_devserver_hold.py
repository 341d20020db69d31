"""The dev server while packages are installed: not started, left alone, or ended for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agent.clock import Clock
from tests.peers.dev_server import Board, applied, living, odd_server, running, supervisor


async def test_what_is_held_is_not_started_until_it_is_released(tmp_path: Path, free_port: Callable[[], int]) -> None:
    board, port = Board(), free_port()
    held = supervisor(odd_server(port), tmp_path, port, board, Clock())
    held.hold("its packages are being installed with npm")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held.run())
        await board.until(lambda: board.states and "installed with npm" in board.now.reason)
        held.files_changed(applied("app/page.tsx"))
        held.restart("somebody asked")
        held.hold("its packages are being looked at again")
        await board.until(lambda: "looked at again" in board.now.reason)
        assert (board.now.state, board.now.pid, board.told["dev_server"]) == ("waiting", None, ())
        held.release()
        await board.state("ready")
        await held.stop()


async def test_what_runs_goes_on_while_it_is_held_and_is_not_started_again_when_it_crashes(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        pid = it.board.pid
        it.supervisor.hold("its packages are being installed with npm")
        it.supervisor.files_changed(applied("app/page.tsx"))
        assert (it.board.now.state, it.board.pid) == ("ready", pid)
        await it.act("exit-1")
        await it.board.until(lambda: "installed with npm" in it.board.now.reason)
        assert it.board.now.state == "waiting"
        it.supervisor.release()
        await it.board.state("ready", starts=1)


async def test_who_makes_room_finds_nothing_running(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        pid = it.board.pid
        await it.supervisor.vacate("next is about to be replaced")
        assert living(pid) == []
        assert it.board.now.state == "waiting"
        it.supervisor.release()
        await it.board.state("ready", starts=1)
        assert it.board.now.crashes == 0


async def test_room_is_made_of_a_server_that_is_still_being_started(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("starting")
        await it.supervisor.vacate("next is about to be replaced")
        assert (it.board.now.state, it.board.now.pid) == ("waiting", None)
        it.supervisor.release()
        await it.board.state("ready")
