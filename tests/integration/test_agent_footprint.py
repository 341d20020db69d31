"""What is in the agent's process after a life of its own: every module costs memory on every machine.

A module that is in the way of a change is allowed here, in the open, with its reason and what it costs.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.peers.dev_server import ODD_SERVER
from tests.peers.stack import backend, stack

SERVER = shlex.join([sys.executable, "-S", "-E", str(ODD_SERVER)]) + " {port}"

INSTALLED = {
    "aiohttp": "the way to the backend, and the server on AGENT_PORT",
    "orjson": "JSON",
    "psutil": "the dev server's processes",
    "structlog": "the log",
    **dict.fromkeys(
        ("aiohappyeyeballs", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache", "yarl"), "of aiohttp"
    ),
    "typing_extensions": "of aiosignal, before Python 3.13",
    "greenlet": "of structlog where it is installed: it comes with Playwright, and not into the image",
}
HEAVY = {
    "aiohttp.web": "1 MiB more than the parts of the low-level server, which can be imported by themselves",
    "aiohttp.web_app": "as above",
    "aiohttp.web_fileresponse": "as above",
    "aiohttp.web_urldispatcher": "as above",
    "agent.admin.metrics": "1 MiB with prometheus_client: for the first scrape",
    "agent.check.preflight": "for `agent check`",
    "agent.check.isolation": "as above",
    "agent.check.attacks": "as above",
    "concurrent.futures.process": "0.4 MiB with multiprocessing",
    "http.server": "0.2 MiB",
    "multiprocessing": "0.1 MiB",
    "pydoc": "1.1 MiB",
    "sqlite3": "0.9 MiB, and the agent has no database",
    "unittest": "0.7 MiB",
    "xml": "0.5 MiB, and no part of the contract is XML",
}

HOOK = """
import atexit, sys
def write():
    with open({path!r}, "w") as file:
        print(*sys.modules, file=file)
atexit.register(write)
"""


@pytest.fixture
async def modules(tmp_path: Path, free_port: Callable[[], int]) -> set[str]:
    """All that an agent had imported by its end, which had files, a dev server that answered, and a visitor."""
    hook, seen = tmp_path / "hook", tmp_path / "modules"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK.format(path=str(seen)))
    async with (
        backend(tmp_path, free_port()) as api,
        stack(tmp_path, tmp_path / "app", api.url, free_port, DEV_COMMAND=SERVER, PYTHONPATH=str(hook)) as running,
    ):
        await running.applied(await api.put({"index.html": "<h1>hello</h1>"}))
        await running.ready()
        async with running.session.get(running.url) as answer:
            assert answer.status == 200
        assert await running.agent.stop() == 0, running.tail()
    return set(seen.read_text().split())


def at_the_start() -> set[str]:
    """What a bare interpreter of this environment has already."""
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], check=True, capture_output=True)
    return set(bare.stdout.decode().split())


async def test_a_running_agent_has_imported_what_it_needs_and_nothing_else(modules: set[str]) -> None:
    assert "agent.app" in modules, "nothing was seen"
    ours = {"agent", "cython_runtime", "sitecustomize", *at_the_start(), *sys.stdlib_module_names}
    tops = {name.partition(".")[0] for name in modules}
    strangers = {top for top in tops if top not in ours and top not in INSTALLED and not top.startswith("_cython")}
    assert not strangers, "a dependency says what it is for, and in its commit what it costs"
    heavy = {name: why for name, why in HEAVY.items() if name in modules}
    assert not heavy


@pytest.mark.parametrize("name", HEAVY)
def test_what_is_kept_out_exists(name: str) -> None:
    assert find_spec(name) is not None, f"{name} has another name now"
