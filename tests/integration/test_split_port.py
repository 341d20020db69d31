"""AGENT_PORT as the app's own code sees it, and as everybody else does. The code runs as another user for real."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import Secret
from tests.peers.admin_port import KEY, admin_port
from tests.peers.split import NOBODY, as_nobody, needs_split, open_folder

pytestmark = needs_split

READ = ("/status", "/events", "/logs", "/logs?follow=1", "/nothing", "//status", "/healthz/../status")
OPEN = ("/healthz", "/readyz", "/metrics")

ASK = """
import http.client, json, socket, sys
host, port, paths, headers, source = json.loads(sys.argv[1])
said = {}
for path in paths:
    client = http.client.HTTPConnection(host, port, timeout=10, source_address=(source, 0) if source else None)
    client.request("GET", path, headers=headers)
    said[path] = client.getresponse().status
    client.close()
print(json.dumps(said))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


async def asked(
    place: Path, port: int, *paths: str, host: str = "127.0.0.1", source: str = "", **headers: str
) -> dict[str, int]:
    argument = json.dumps([host, port, paths, headers, source])
    done = await asyncio.to_thread(as_nobody, place, ASK, argument)
    assert done.returncode == 0, done.stderr
    said: dict[str, int] = json.loads(done.stdout)
    return said


async def test_the_apps_code_reads_health_and_metrics_and_nothing_else(place: Path) -> None:
    async with admin_port(app_user=NOBODY) as port:
        assert set((await asked(place, port.admin.port, *READ)).values()) == {401}
        assert set((await asked(place, port.admin.port, *OPEN)).values()) == {200}


@pytest.mark.parametrize(
    ("host", "source"), [("127.0.0.1", "127.0.0.77"), ("127.3.2.1", ""), ("::ffff:127.0.0.1", ""), ("own", "")]
)
async def test_no_local_address_makes_a_stranger_of_it(place: Path, host: str, source: str) -> None:
    if host == "own":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; it asks which of our addresses would be used
            except OSError:
                pytest.skip("this machine has no address but 127.0.0.1")
            host = probe.getsockname()[0]
    async with admin_port(app_user=NOBODY, host="0.0.0.0") as port:
        assert await asked(place, port.admin.port, "/status", host=host, source=source) == {"/status": 401}


async def test_the_key_opens_everything_to_it_and_a_wrong_one_nothing(place: Path) -> None:
    async with admin_port(app_user=NOBODY) as port:
        for key, status in ((KEY, 200), (KEY + "x", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            said = await asked(place, port.admin.port, "/status", "/logs", **headers)
            assert said == {"/status": status, "/logs": status}


async def test_without_a_key_of_the_agent_nothing_opens_it(place: Path) -> None:
    async with admin_port(key=None, app_user=NOBODY) as port:
        assert await asked(place, port.admin.port, "/status", Authorization="Bearer ") == {"/status": 401}


async def test_everybody_else_reads_as_the_contract_says() -> None:
    async with admin_port(app_user=NOBODY) as port:
        assert (await port.get("/status"))[0] == 200
        assert (await port.get("/nothing"))[0] == 404


async def test_without_a_split_nobody_is_asked_who_he_is(place: Path) -> None:
    async with admin_port(key=Secret(KEY)) as port:
        assert await asked(place, port.admin.port, "/status") == {"/status": 200}


async def test_who_has_let_go_of_the_socket_counts_as_the_apps_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel shows such a socket as root's, with no inode."""
    async with admin_port(app_user=NOBODY) as port:
        monkeypatch.setattr("agent.admin.peer_user.TABLES", ())
        assert (await port.get("/status"))[0] == 401
        assert (await port.get("/healthz"))[0] == 200
