"""`agent check` where the app's code has a user of its own: nothing goes through, and what would is found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import aiohttp
import pytest

from agent.check.isolation import running_agent
from agent.isolation.sandbox import confined
from tests.peers.admin_port import admin_port
from tests.peers.plain import PlainBackend, plain_backend
from tests.peers.split import NOBODY, PYTHON, needs_split, nobody, open_folder
from tests.peers.stack import KEY, Process, Stack, stack

pytestmark = needs_split

PROGRAM = resources.files("agent.check").joinpath("attacks.py").read_text("utf-8")


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
async def api(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[PlainBackend]:
    async with plain_backend(tmp_path, free_port()) as backend:
        await backend.put({"index.html": "hello"})
        yield backend


async def check(place: Path, environ: dict[str, str]) -> tuple[int, dict[str, str]]:
    """The exit status, and each line of the isolation by what was tried."""
    process = Process("agent", "check", log=place / "check.log", environ=environ)
    await process.start()
    async with asyncio.timeout(60):
        status = await process.child.wait()
    text = process.log.read_text()
    assert KEY not in text
    lines = (line.split(None, 2) for line in text.splitlines())
    said = {line[2].partition(":")[0]: f"{line[0]} {line[2]}" for line in lines if line[1] == "isolation"}
    print(text)  # noqa: T201 - what a failed test is understood by
    return status, said


async def test_nothing_goes_through_against_an_agent_that_runs(
    place: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    environ = {"DEV_USER": str(NOBODY), "DEV_COMMAND": "sleep 600"}
    async with stack(place, place / "app", api.url, free_port, **environ) as it:
        await it.until(lambda status: status["dev_server"]["pid"] and status["sync"]["state"] == "current")
        assert running_agent(place / "state") == it.agent.child.pid
        status, said = await check(place, it.agent.environ)
        assert f"on process {it.agent.child.pid}, the running agent" in said["attacks"]
        assert status == 0
        assert "ok" in said["read the agent's state and key"]
        assert "401" in said["use the agent's port"]
        assert {line.split()[0] for what, line in said.items() if "socket" not in what} == {"ok"}
        await it.status()  # it lives
    assert running_agent(place / "state") is None


async def environ_of(place: Path, api: PlainBackend, free_port: Callable[[], int], **more: str) -> dict[str, str]:
    """That of an agent which is not started."""
    async with aiohttp.ClientSession() as session:
        ports = free_port(), free_port(), free_port()
        environ = {"DEV_USER": str(NOBODY), "DEV_COMMAND": "true"} | more
        return Stack(place, place / "app", api.url, *ports, session, environ).agent.environ


async def test_without_an_agent_the_check_stands_in_for_one(
    place: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    status, said = await check(place, await environ_of(place, api, free_port))
    assert status == 0
    assert "in place of an agent" in said["attacks"]
    assert "401" in said["use the agent's port"]


async def test_a_key_file_that_the_user_can_read_is_a_failed_check(
    place: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    (place / "key").write_text(KEY)
    (place / "key").chmod(0o644)
    environ = await environ_of(place, api, free_port, API_KEY="", API_KEY_FILE=str(place / "key"))
    status, said = await check(place, environ)
    assert status == 1
    assert said["read the agent's state and key"].startswith("FAIL")
    assert f"{place / 'key'} can be read" in said["read the agent's state and key"]


async def test_root_without_a_split_is_a_failed_check(
    place: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    status, _ = await check(place, await environ_of(place, api, free_port, DEV_USER="no-such-user"))
    assert status == 1
    assert "there is no user no-such-user (DEV_USER)" in (place / "check.log").read_text()


def target(place: Path, **facts: object) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "fly": str(place / "no-such-socket"),
        "port": 1,
        "hosts": ["127.0.0.1"],
        "closed_folders": [],
        "closed_files": [],
        "folders": [],
    } | facts


async def attack(command: tuple[str, ...], facts: dict[str, object], **environ: str) -> dict[str, str]:
    done = await asyncio.to_thread(
        subprocess.run, command, input=json.dumps(facts), env=environ, capture_output=True, text=True, timeout=60
    )
    return {what: came for came, what, _ in map(json.loads, done.stdout.splitlines())}


def as_the_app(place: Path) -> tuple[str, ...]:
    return confined((PYTHON, "-I", "-S", "-c", PROGRAM), nobody(place))


@contextmanager
def process_of_the_user(place: Path, **environ: str) -> Iterator[int]:
    command = confined((PYTHON, "-I", "-c", "print('up', flush=True); import time; time.sleep(60)"), nobody(place))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


async def test_an_agent_of_the_same_user_is_seen_to_be_open(place: Path) -> None:
    with process_of_the_user(place, API_KEY="k") as pid:
        said = await attack(as_the_app(place), target(place, pid=pid))
    for what in ("read the environment of every process", "read the agent's memory", "take the agent's open files"):
        assert said[what] == "went through", what
    assert said["signal the agent"] == "went through"
    assert said["regain privileges"] == "refused"


async def test_open_folders_files_sockets_and_ports_are_seen(place: Path) -> None:
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), place / "socket")
    (place / "socket").chmod(0o777)
    facts = {"fly": str(place / "socket"), "closed_folders": [str(place)], "folders": [str(place / "open")]}
    async with server, admin_port() as port:
        said = await attack(as_the_app(place), target(place, port=port.admin.port, **facts))
    for what in (
        "connect to the machine's own socket",
        "read the agent's state and key",
        "write outside the workspace",
    ):
        assert said[what] == "went through", what
    assert said["use the agent's port"] == "went through"
    assert list((place / "open").iterdir()) == []


async def test_a_user_that_keeps_its_rights_is_seen(place: Path) -> None:
    """The same user by hand, as somebody might who thinks that a user is all it takes."""
    by_hand = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    said = await attack((*by_hand, PYTHON, "-I", "-S", "-c", PROGRAM), target(place), PATH=os.environ["PATH"])
    assert said["regain privileges"] == "went through"
    assert said["exceed its limits"] == "went through"
