"""The supervisor over real processes that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agent.clock import Clock
from agent.devserver import health
from agent.process import find, orphans
from agent.process.child import Child
from agent.process.find import is_free
from tests.peers.dev_server import Board, applied, living, odd_server, running
from tests.peers.dev_server import supervisor as make_supervisor

Port = Callable[[], int]


async def test_a_server_is_started_is_ready_and_is_stopped_without_a_trace(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        ready = await it.board.state("ready")
        await it.board.until(lambda: it.board.now.rss_bytes)
        await it.supervisor.stop()
        await it.supervisor.stop()

    assert ready.started_at is not None
    assert ready.ready_at is not None
    assert (ready.restarts, ready.crashes, ready.next_try_at) == (0, 0, None)
    assert it.board.now.state == "stopped"
    assert next(state.processes for state in it.board.states if state.rss_bytes) == 1
    assert ready.pid is not None
    assert not living(ready.pid)
    assert is_free(port)
    assert it.supervisor.logs.lines() == ["listening"]


async def test_any_answer_to_the_first_page_counts_as_ready(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port, "not-found", "not-next"), tmp_path, port) as it:
        await it.board.state("ready")


@pytest.mark.parametrize("flags", [("fork",), ("fork", "deaf"), ("child",), ("daemon",), ("deaf", "child", "daemon")])
async def test_a_stop_leaves_nothing_whoever_ignores_it_or_hides(
    tmp_path: Path, free_port: Port, flags: tuple[str, ...]
) -> None:
    port = free_port()
    before = set(psutil.Process().children(recursive=True))
    async with running(odd_server(port, *flags), tmp_path, port) as it:
        await it.board.state("ready")
        session = it.board.pid
        record = orphans.read_record(tmp_path / "state")
        await it.supervisor.stop()

        assert record is not None
        assert not living(session)
        assert not find.with_run_mark(record.run)
        assert is_free(port)
    assert set(psutil.Process().children(recursive=True)) <= before


async def test_twenty_stops_and_starts_leave_nothing(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    for _ in range(20):
        async with running(odd_server(port, "fork"), tmp_path, port) as it:
            await it.board.state("ready")
            session = it.board.pid
        assert not living(session)
        assert is_free(port)


async def test_a_stop_in_the_middle_of_everything_leaves_nothing(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    for turns in range(0, 60, 3):
        async with running(odd_server(port), tmp_path, port) as it:
            for _ in range(turns):
                await asyncio.sleep(0)
        record = orphans.read_record(tmp_path / "state")
        assert it.board.now.state == "stopped"
        assert record is None or not find.with_run_mark(record.run)


async def test_a_cancelled_run_ends_its_server_first(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port, "fork", "deaf"), tmp_path, port) as it:
        await it.board.state("ready")
        session = it.board.pid
        it.task.cancel()
        with suppress(asyncio.CancelledError):
            await it.task

        assert it.task.cancelled()
        assert not living(session)
        assert it.board.now.state == "stopped"


async def test_a_run_that_is_cancelled_twice_kills_at_once(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port, "fork", "deaf"), tmp_path, port) as it:
        await it.board.state("ready")
        session = it.board.pid
        it.task.cancel()
        await it.board.state("stopping")
        it.task.cancel()
        with suppress(asyncio.CancelledError):
            await it.task

        assert not living(session)
        assert it.board.now.state == "stopping"


async def test_a_launch_that_cannot_come_to_an_end_is_abandoned_by_a_stop(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "agent.devserver.transitions.GRACE_SECONDS", 60.0
    )  # only the launch's own end is left to wait for
    monkeypatch.setattr(orphans, "PORT_TRIES", 10_000)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        async with running(odd_server(port), tmp_path, port) as it:
            await it.board.until(lambda: it.board.states and "it is being started" in it.board.now.reason)
            await it.supervisor.stop()

            assert it.board.now.state == "stopped"


async def test_a_stop_ends_even_where_nobody_learns_that_the_process_is_gone(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Child) -> int:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Child, "wait_gone", never)
    port = free_port()
    async with running(odd_server(port, "fork", "deaf"), tmp_path, port) as it:
        await it.board.state("ready")
        session = it.board.pid
        await it.supervisor.stop()

        assert it.task.done()
        assert not living(session)


async def test_a_stop_before_the_run_makes_the_run_short(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    board = Board()
    never = make_supervisor(odd_server(port), tmp_path, port, board, Clock())
    await never.stop()
    await never.run()

    assert [facts.state for facts in board.states] == ["waiting", "stopped"]


@pytest.mark.parametrize("status", [0, 3])
async def test_an_exit_is_a_crash_and_the_server_comes_back(tmp_path: Path, free_port: Port, status: int) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        await it.act(f"exit-{status}")
        back = await it.board.state("ready", starts=1)

    assert (back.restarts, back.crashes) == (1, 1)
    assert any(facts.state == "restarting" and f"status {status}" in facts.reason for facts in it.board.states)
    assert it.board.told["dev_server"] == ()


@pytest.mark.parametrize("victim", ["leader", "worker"])
async def test_a_killed_process_takes_its_relatives_along_and_comes_back(
    tmp_path: Path, free_port: Port, victim: str
) -> None:
    port = free_port()
    async with running(odd_server(port, "fork"), tmp_path, port) as it:
        await it.board.state("ready")
        session = it.board.pid
        worker = psutil.Process(session).children()[0]
        os.kill(session if victim == "leader" else worker.pid, signal.SIGKILL)
        back = await it.board.state("ready", starts=1)

        assert back.crashes == 1
        assert not living(session)


async def test_five_crashes_are_enough_and_a_change_of_files_tries_again(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port, "needs-cure"), tmp_path, port) as it:
        failed = await it.board.state("failed")
        (problem,) = it.board.told["dev_server"]
        (tmp_path / "workspace" / "cure").touch()
        it.supervisor.files_changed(applied("cure"))
        ready = await it.board.state("ready")

    assert failed.crashes == 5
    assert "5 crashes within 10 minutes" in failed.reason
    assert "there is no cure; it exited with status 1" in problem.message
    assert (ready.crashes, ready.restarts) == (5, 5)
    assert it.board.told["dev_server"] == ()


async def test_a_restart_that_is_asked_for_is_no_crash(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        session = it.board.pid
        it.supervisor.restart("somebody asked")
        back = await it.board.state("ready", starts=1)

        assert not living(session)
    assert (back.restarts, back.crashes) == (1, 0)


async def test_a_deleted_env_file_restarts_the_server(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        it.supervisor.files_changed(applied(deleted=(".env",)))
        back = await it.board.state("ready", starts=1)

    assert back.crashes == 0


async def test_a_changed_configuration_does_not_wait_for_the_pause(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port, "needs-next.config.ts"), tmp_path, port, chance=0.999) as it:
        await it.board.until(lambda: it.board.states and it.board.now.crashes == 3)
        waiting = await it.board.state("restarting")
        (tmp_path / "workspace" / "next.config.ts").touch()
        it.supervisor.files_changed(applied("next.config.ts"))
        await it.board.state("ready")

    assert waiting.next_try_at is not None
    assert it.board.now.crashes == 3


async def test_a_program_that_is_missing_says_so(tmp_path: Path, free_port: Port) -> None:
    async with running(("no-such-program",), tmp_path, free_port()) as it:
        await it.board.state("failed")

        assert "no-such-program could not be started: No such file or directory" in it.board.now.reason


async def test_a_hung_server_is_restarted_and_counted(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devserver.nextjs.readiness.ALIVE_SECONDS", 0.3)
    monkeypatch.setattr("agent.devserver.transitions.HUNG_SECONDS", 1.0)
    monkeypatch.setattr(health, "ALIVE_EVERY", 0.1)
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        await asyncio.sleep(0.3)  # one look at the living server tells that it knows Next's path
        await it.act("hang")
        await it.board.state("unresponsive")
        back = await it.board.state("ready", starts=1)

    assert back.crashes == 1
    assert any("hung" in facts.reason for facts in it.board.states)


async def test_a_silent_server_that_works_is_given_time(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devserver.nextjs.readiness.ALIVE_SECONDS", 0.3)
    monkeypatch.setattr("agent.devserver.transitions.HUNG_SECONDS", 1.0)
    monkeypatch.setattr("agent.devserver.transitions.BUSY_SECONDS", 4.0)
    monkeypatch.setattr(health, "ALIVE_EVERY", 0.1)
    clock = Clock()
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        await asyncio.sleep(0.3)
        await it.act("spin")
        await it.board.state("unresponsive")
        since = clock.monotonic()
        await it.board.state("ready", starts=1)

    assert clock.monotonic() - since >= 4.0


async def test_a_server_that_never_answers_is_restarted_and_counted(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devserver.transitions.START_SECONDS", 0.5)
    async with running(odd_server(free_port(), "mute"), tmp_path, free_port()) as it:
        await it.board.until(lambda: it.board.states and it.board.now.crashes)

        assert any("has not answered within" in facts.reason for facts in it.board.states)


async def test_a_flood_without_a_newline_neither_blocks_the_child_nor_fills_memory(
    tmp_path: Path, free_port: Port
) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        following = it.supervisor.logs.follow()
        await it.act("flood")
        async with asyncio.timeout(20):
            lines = [await anext(following), await anext(following)]
        await following.aclose()

    assert [len(line) for line in lines] == [8192 + len(" … (cut)"), len("after the flood")]


async def test_the_server_sees_no_secret_and_carries_the_mark_of_its_run(tmp_path: Path, free_port: Port) -> None:
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        following = it.supervisor.logs.follow()
        await it.act("environ")
        async with asyncio.timeout(20):
            environ = json.loads(await anext(following))
        await following.aclose()
        record = orphans.read_record(tmp_path / "state")

    assert record is not None
    assert environ.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own
    assert environ == {
        "PATH": os.environ["PATH"],
        "NEXT_TELEMETRY_DISABLED": "1",
        "PREVIEW_AGENT_RUN": record.run,
    }


async def test_next_waits_for_its_files_and_complains_once_the_sync_has_not_brought_them(
    tmp_path: Path, free_port: Port
) -> None:
    port = free_port()
    workspace = tmp_path / "workspace"
    program = workspace / "node_modules/next/dist/bin/next"
    # What is missing is judged by the command's words; that Python runs the odd server here does not matter to them.
    command = (*odd_server(port), str(program))
    async with running(command, tmp_path, port) as it:
        await it.board.until(lambda: it.board.states and "package.json" in it.board.now.reason)
        assert it.board.told["dev_server"] == ()

        it.supervisor.files_changed(applied("app/page.tsx"))
        await it.board.until(lambda: it.board.told["dev_server"])
        assert it.board.now.state == "waiting"

        (workspace / "package.json").write_text("{}")
        (workspace / "app").mkdir()
        it.supervisor.files_changed(applied("package.json"))
        await it.board.until(lambda: "has to name it among its dependencies" in it.board.now.reason)

        program.parent.mkdir(parents=True)
        program.touch()  # nobody says so: it is found by looking again
        await it.board.state("ready")

    assert it.board.told["dev_server"] == ()
