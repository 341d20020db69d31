"""What an earlier life of the agent left running: ended when it is provably ours, left alone when it is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agent.errors import DiskError, Occupied
from agent.isolation.child_environment import RUN_MARK
from agent.process import orphans
from agent.process.find import is_free
from tests.peers.dev_server import living, odd_server, running

Port = Callable[[], int]
Start = Callable[..., psutil.Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """A factory of servers that no supervisor started; `run` is the mark that they carry."""
    started: list[subprocess.Popen[bytes]] = []

    def make(port: int, *flags: str, run: str | None = None) -> psutil.Process:
        environ = {"PATH": os.environ["PATH"]} | ({RUN_MARK: run} if run else {})
        process = subprocess.Popen(
            odd_server(port, *flags), env=environ, start_new_session=True, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        while is_free(port):
            assert process.poll() is None
        return psutil.Process(process.pid)

    yield make
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


async def test_the_server_of_a_killed_agent_is_ended_and_replaced(tmp_path: Path, free_port: Port) -> None:
    """A real agent process, killed with SIGKILL, and the next one on the same state folder."""
    port = free_port()
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.peers.dev_server import *\n"
        "async def main():\n"
        f"    async with running(odd_server({port}, 'fork', 'deaf'), Path({str(tmp_path)!r}), {port}) as it:\n"
        "        await it.board.state('ready'); print('pid', it.board.pid, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert agent.stdout is not None
    session = 0
    async with asyncio.timeout(20):
        while not session:
            words = (await agent.stdout.readline()).split()
            session = int(words[1]) if words[:1] == [b"pid"] else 0
    agent.kill()
    await agent.wait()
    assert len(living(session)) == 2

    async with running(odd_server(port), tmp_path, port) as it:
        ready = await it.board.state("ready")

        assert not living(session)
        assert (ready.crashes, ready.restarts) == (0, 0)
        assert [entry.what for entry in ready.repairs] == ["ended processes that an earlier run had left"]
        assert f"(pid {session})" in ready.repairs[0].why


async def test_a_marked_process_is_ended_even_where_the_record_knows_no_pid(
    tmp_path: Path, free_port: Port, start: Start
) -> None:
    port = free_port()
    orphan = start(port, run="r1")
    orphans.write_record(tmp_path, orphans.RunRecord("r1"))

    await orphans.free_port(tmp_path, port)

    assert orphan.wait(timeout=5) is not None
    assert is_free(port)


async def test_a_recorded_leader_is_ended_with_its_session_even_where_the_mark_was_lost(
    tmp_path: Path, free_port: Port, start: Start
) -> None:
    port = free_port()
    orphan = start(port, "child")
    orphans.write_record(tmp_path, orphans.record_of("r1", orphan.pid))

    await orphans.free_port(tmp_path, port)

    assert not living(orphan.pid)


async def test_a_stranger_on_the_port_is_named_and_left_alone(tmp_path: Path, free_port: Port, start: Start) -> None:
    port = free_port()
    stranger = start(port, run="another agent's")
    orphans.write_record(tmp_path, orphans.RunRecord("r1"))
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.until(lambda: it.board.told.get("dev_server"))
        (problem,) = it.board.told["dev_server"]

    assert f"port {port} is held by {stranger.name()} (pid {stranger.pid})" in problem.message
    assert stranger.is_running()


async def test_a_stranger_that_got_the_pid_of_our_old_leader_is_left_alone(
    tmp_path: Path, free_port: Port, start: Start
) -> None:
    port = free_port()
    stranger = start(port)
    born = stranger.create_time()
    orphans.write_record(tmp_path, orphans.RunRecord("r1", stranger.pid, born - 60))

    with pytest.raises(Occupied):
        await orphans.free_port(tmp_path, port)

    assert stranger.is_running()


async def test_the_server_starts_once_the_stranger_has_left(tmp_path: Path, free_port: Port, start: Start) -> None:
    port = free_port()
    stranger = start(port)
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.until(lambda: it.board.told.get("dev_server"))
        stranger.kill()
        await it.board.state("ready")

        assert it.board.told["dev_server"] == ()


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"run": null, "pid": "x"}'])
async def test_a_record_that_cannot_be_read_is_no_record(tmp_path: Path, free_port: Port, text: str) -> None:
    (tmp_path / orphans.RECORD).write_text(text)

    await orphans.free_port(tmp_path, free_port())


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = orphans.record_of("r1", os.getpid())
    orphans.write_record(tmp_path / "new", record)

    assert orphans.read_record(tmp_path / "new") == record
    assert [path.name for path in (tmp_path / "new").iterdir()] == [orphans.RECORD]


def test_a_record_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DiskError, match=r"dev-server\.json could not be written"):
        orphans.write_record(tmp_path / "file", orphans.RunRecord("r1"))
