"""The machine's own socket: what is asked of it, and what each of its answers becomes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from agent.config import FlyMachine
from agent.errors import MachineError
from agent.sleep import fly_api
from agent.sleep.fly_api import FlySocket
from tests.peers.fly_machine import APP, MACHINE, Machine, fly_machine

URL = "https://backend.example"


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with fly_machine(tmp_path) as running, asyncio.timeout(30):
        yield running


async def refusal(machine: Machine) -> str:
    with pytest.raises(MachineError) as caught:
        await FlySocket(machine.known).suspend()
    return str(caught.value)


async def test_a_snapshot_is_asked_for_by_flys_own_names_and_comes_after_the_answer(machine: Machine) -> None:
    assert FlySocket(machine.known).unavailable() is None
    await FlySocket(machine.known).suspend()
    assert machine.state == "suspending"
    assert machine.asked == [(f"POST flaps/v1/apps/{APP}/machines/{MACHINE}/suspend", "")]
    await machine.frozen.wait()


async def test_a_suspended_process_goes_on_where_it_stood(machine: Machine) -> None:
    pipe = asyncio.subprocess.PIPE
    echo = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    assert echo.stdin is not None
    assert echo.stdout is not None
    try:
        machine.root = psutil.Process(echo.pid)
        await FlySocket(machine.known).suspend()
        await machine.frozen.wait()
        assert machine.root.status() == psutil.STATUS_STOPPED
        echo.stdin.write(b"still here\n")
        machine.start()
        assert await echo.stdout.readline() == b"still here\n"
    finally:
        echo.kill()
        await echo.communicate()


async def test_a_token_is_the_body_as_it_is_for_the_audience_that_was_named(machine: Machine) -> None:
    token = await FlySocket(machine.known).token(URL)
    assert machine.asked == [("POST flaps/v1/tokens/oidc", '{"aud":"https://backend.example"}')]
    assert [token.reveal()] == machine.issued
    assert token.reveal() not in repr(token)


async def test_a_machine_that_cannot_be_suspended_is_told_with_flys_words_and_the_requests_id(machine: Machine) -> None:
    machine.memory_mb = 4096
    said = await refusal(machine)
    assert "Fly answered 412: machine has too much memory to be suspended (fly-request-id 01JDKV2W5Z-fra)" in said
    assert machine.state == "started"


async def test_another_machines_name_is_refused(machine: Machine) -> None:
    stranger = FlySocket(FlyMachine(APP, "other/../machine", machine.path))
    with pytest.raises(MachineError, match="403: unauthorized") as caught:
        await stranger.suspend()
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, b'{"error":"not found"}', "answered 404: not found"),
        (422, b'{"message":"invalid"}', "answered 422: invalid"),
        (500, b"upstream\r\nbroke", "answered 500: upstream  broke"),
        (403, b"[1]", "answered 403 (fly"),
        (503, b'{"error":7}', "answered 503 (fly"),
        (302, b"", "answered 302 (fly"),
        (500, b"x" * 100_000, "answered 500: " + "x" * 200 + " (fly"),
    ],
)
async def test_every_other_answer_is_an_error_with_its_own_words(
    machine: Machine, status: int, body: bytes, says: str
) -> None:
    machine.refusal = (status, body)
    assert says in await refusal(machine)


async def test_a_socket_that_does_not_answer_is_given_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fly_api, "CALL_SECONDS", 0.1)
    machine.hangs = True
    assert "did not answer within 0.1 s" in await refusal(machine)


async def test_a_body_without_end_is_cut(machine: Machine) -> None:
    machine.body = b"x" * 1_000_000
    with pytest.raises(MachineError, match="sent over 65,536 bytes"):
        await FlySocket(machine.known).token(URL)


class TestWhyItCannotBeUsed:
    async def test_there_is_none(self, tmp_path: Path) -> None:
        nowhere = FlySocket(FlyMachine(APP, MACHINE, tmp_path / "api"))
        assert "there is no socket at" in (nowhere.unavailable() or "")
        with pytest.raises(MachineError, match="there is no socket at"):
            await nowhere.suspend()

    def test_it_is_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "api").touch()
        assert "is not a socket" in (FlySocket(FlyMachine(APP, MACHINE, tmp_path / "api")).unavailable() or "")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_it_is_for_root_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "api"
        script = (
            "import os, sys; from pathlib import Path; from agent.config import FlyMachine;"
            "from agent.sleep.fly_api import FlySocket; os.setuid(65534);"
            "print(FlySocket(FlyMachine('a', 'm', Path(sys.argv[1]))).unavailable())"
        )
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o755)
            for folder in path.parents[:-1]:
                if folder.stat().st_uid == 0 and folder != Path("/tmp"):
                    folder.chmod(0o755)
            root = Path(__file__).parents[3]
            said = subprocess.run([sys.executable, "-c", script, path], cwd=root, check=True, capture_output=True)
        assert "run the agent as root" in said.stdout.decode()

    async def test_nobody_listens_there_any_more(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "api"))
        with pytest.raises(MachineError, match="Connection refused"):
            await FlySocket(FlyMachine(APP, MACHINE, tmp_path / "api")).suspend()
