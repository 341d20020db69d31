"""The whole agent while an installer runs: how it is stopped, and what a kill of it leaves. npm is a stand-in."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.peers.installing import manifest, program
from tests.peers.living import sleeping_in
from tests.peers.plain import PlainBackend, plain_backend
from tests.peers.stack import Stack, stack

pytestmark = pytest.mark.timeout(120)

SERVER = f"{shlex.quote(sys.executable)} -m http.server {{port}} --bind 127.0.0.1"
NPM = "mkdir -p node_modules; [ -e {flag} ] && exit 0; sleep 611 & setsid sleep 612 & sleep 613"


@pytest.fixture
async def api(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[PlainBackend]:
    async with plain_backend(tmp_path, free_port()) as backend:
        await backend.put({"index.html": "hello", "package.json": manifest({"a": "1"}).decode()})
        yield backend


@pytest.fixture
def workspace_of_an_earlier_life(tmp_path: Path) -> Path:
    """One whose package.json asks for what is not installed: with files to serve, the server could start."""
    place = tmp_path / "app"
    place.mkdir()
    (place / "package.json").write_bytes(manifest({"a": "1"}))
    return place


def busy(running: Stack) -> bool:
    return sleeping_in(running.workspace) == ["611", "612", "613"]


async def installing(running: Stack) -> None:
    status = await running.until(lambda status: _waits(status["dev_server"]) and busy(running))
    assert status["install"]["state"] == "running"
    assert status["problems"] == []


def _waits(server: dict[str, Any]) -> bool:
    said = server["state"], server["reason"]
    return said == ("waiting", "its packages are being installed with npm")


async def test_a_stop_during_an_installation_leaves_nothing_running(
    tmp_path: Path, workspace_of_an_earlier_life: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    path = program(tmp_path / "bin", "npm", NPM.format(flag=tmp_path / "flag"))
    async with stack(
        tmp_path, workspace_of_an_earlier_life, api.url, free_port, DEV_COMMAND=SERVER, PATH=path
    ) as running:
        await installing(running)
        assert await running.agent.stop() == 0, running.tail()
        assert sleeping_in(running.workspace) == []


async def test_two_signals_at_once_leave_nothing_of_an_installation_running(
    tmp_path: Path, workspace_of_an_earlier_life: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    path = program(tmp_path / "bin", "npm", NPM.format(flag=tmp_path / "flag"))
    async with stack(
        tmp_path, workspace_of_an_earlier_life, api.url, free_port, DEV_COMMAND=SERVER, PATH=path
    ) as running:
        await installing(running)
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
            running.agent.child.send_signal(number)
        assert await running.agent.stop(signal.SIGCONT) == 130, running.tail()
        assert sleeping_in(running.workspace) == []


async def test_an_installer_that_outlived_a_killed_agent_is_ended_and_its_work_done_again(
    tmp_path: Path, workspace_of_an_earlier_life: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    path = program(tmp_path / "bin", "npm", NPM.format(flag=tmp_path / "flag"))
    async with stack(
        tmp_path, workspace_of_an_earlier_life, api.url, free_port, DEV_COMMAND=SERVER, PATH=path
    ) as running:
        await installing(running)
        running.agent.child.send_signal(signal.SIGKILL)
        await running.agent.child.wait()
        assert busy(running)
        (tmp_path / "flag").touch()
        await running.agent.start()
        status = await running.ready()
        assert sleeping_in(running.workspace) == []
        assert (status["install"]["state"], status["install"]["runs"]) == ("idle", 1)


async def test_a_kill_between_the_halves_of_a_set_is_finished_by_the_next_start_without_the_backend(
    tmp_path: Path, workspace_of_an_earlier_life: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    path = program(tmp_path / "bin", "npm", NPM.format(flag=flag))
    place = workspace_of_an_earlier_life
    async with stack(
        tmp_path, place, api.url, free_port, DEV_COMMAND=SERVER, PATH=path, POLL_INTERVAL="100ms"
    ) as running:
        await running.ready()
        flag.unlink()
        await api.put({"index.html": "new", "package.json": manifest({"a": "1", "b": "1"}).decode()})
        await running.until(lambda status: status["install"]["state"] == "running" and busy(running))
        assert (place / "index.html").read_text() == "hello"
        assert b'"b"' in (place / "package.json").read_bytes()
        running.agent.child.send_signal(signal.SIGKILL)
        await running.agent.child.wait()

        flag.touch()
        api.fault = "500"
        await running.agent.start()
        status = await running.until(lambda status: status["install"]["runs"] == 1 and status["dev_server"]["ready_at"])
        assert (place / "index.html").read_text() == "new"
        assert (status["install"]["state"], sleeping_in(running.workspace)) == ("idle", [])
        api.fault = None
