"""Where the key is not to be found once the agent runs, and who cannot look where it is."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from agent.isolation import key_handover
from agent.isolation.sandbox import confined
from tests.peers.plain import PlainBackend, plain_backend
from tests.peers.split import PYTHON, as_nobody, needs_split, nobody, open_folder
from tests.peers.stack import KEY, ROOT, Stack, stack

SLEEPER = "sleep 600"


@pytest.fixture
async def api(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[PlainBackend]:
    async with plain_backend(tmp_path, free_port()) as backend:
        await backend.put({"index.html": "hello"})
        yield backend


def first_stack(pid: int) -> bytes:
    """What the process was started with: arguments and environment, as the kernel shows them."""
    return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()


def files_of(pid: int) -> list[str]:
    return [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]


async def synced(agent: Stack) -> None:
    await agent.until(lambda status: status["sync"]["state"] == "current")


async def test_a_key_of_the_environment_is_used_and_is_not_in_the_environment_any_more(
    tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    async with stack(tmp_path, tmp_path / "app", api.url, free_port, DEV_COMMAND=SLEEPER) as it:
        await synced(it)  # the backend took the key
        status = await it.until(lambda status: status["dev_server"]["pid"] is not None)
        pid = it.agent.child.pid
        for process in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))):
            assert KEY.encode() not in first_stack(process)
            assert not [name for name in files_of(process) if "memfd" in name]
        assert status["dev_server"]["pid"] is not None
        assert psutil.Process(pid).cmdline()[1:] == ["-m", "agent", "run"]


async def test_no_core_is_ever_dumped(tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]) -> None:
    async with stack(tmp_path, tmp_path / "app", api.url, free_port, DEV_COMMAND=SLEEPER) as it:
        await synced(it)
        assert resource.prlimit(it.agent.child.pid, resource.RLIMIT_CORE) == (0, 0)


async def test_a_key_of_a_file_is_in_nothing_that_can_be_read_either(
    tmp_path: Path, api: PlainBackend, free_port: Callable[[], int]
) -> None:
    (tmp_path / "key").write_text(KEY)
    environ = {"API_KEY": "", "API_KEY_FILE": str(tmp_path / "key"), "DEV_COMMAND": SLEEPER}
    async with stack(tmp_path, tmp_path / "app", api.url, free_port, **environ) as it:
        await synced(it)
        assert KEY.encode() not in first_stack(it.agent.child.pid)
        assert str(tmp_path / "key") not in files_of(it.agent.child.pid)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("key", ["k", "a key with spaces, and ümläuts", "\udcff", "x" * 100_000])
def test_any_key_comes_over_as_it_was(key: str) -> None:
    script = """
import os, sys
from agent.isolation import key_handover
environ = key_handover.take_key()
assert "API_KEY" not in os.environ
assert key_handover.HANDED not in os.environ
assert {entry.name for entry in os.scandir("/proc/self/fd")} == {"0", "1", "2", "3"}  # 3 is the look itself
assert b"API_KEY=" not in open("/proc/self/environ", "rb").read()
sys.stdout.write(ascii((environ["API_KEY"], sys.argv[1:], sys.flags.dont_write_bytecode)))
"""
    done = run("-B", "-c", script, "one", "--two", API_KEY=key)
    assert done.stdout == ascii((key, ["one", "--two"], 1)), done.stderr[-2000:]


def test_a_program_without_a_key_does_not_start_twice() -> None:
    script = "from agent.isolation import key_handover; import os; print('API_KEY' in key_handover.take_key())"
    for environ in ({}, {"API_KEY": " "}):
        assert run("-X", "importtime", "-c", script, **environ).stderr.count("| site\n") == 1
    assert run("-X", "importtime", "-c", script, API_KEY="k").stderr.count("| site\n") == 2


@pytest.mark.parametrize("number", ["", "x", "999", "-1"])
def test_a_handover_that_is_not_the_agents_own_is_refused(number: str) -> None:
    done = run("-m", "agent", "run", **{key_handover.HANDED: number})
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"preview-agent: {key_handover.HANDED} is {number!r} (the agent sets it for itself alone: unset it)\n"
    )


@needs_split
def test_a_sealed_process_is_closed_to_others_of_its_own_user_too() -> None:
    """What protects the key where nothing is split: the app's code runs as the agent's own user there."""
    script = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("handover", sys.argv[1])
key_handover = importlib.util.module_from_spec(spec)
spec.loader.exec_module(key_handover)
if sys.argv[2] == "sealed":
    key_handover.protect_memory()
os.listdir("/proc/self/fd"), open("/proc/self/statm").read()  # what the agent reads of itself
print("up", flush=True)
time.sleep(60)
"""
    look = """
import sys
for name in ("environ", "mem", "maps"):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").read(0)
        print(name)
    except PermissionError:
        pass
"""
    with open_folder() as folder:
        shutil.copy(key_handover.__file__, folder / "handover.py")
        for how, seen in (("open", "environ\nmem\nmaps\n"), ("sealed", "")):
            command = confined((PYTHON, "-I", "-c", script, str(folder / "handover.py"), how), nobody(folder))
            with subprocess.Popen(command, stdout=subprocess.PIPE, env={"API_KEY": "k"}) as process:
                try:
                    assert process.stdout is not None
                    assert process.stdout.readline() == b"up\n"
                    assert as_nobody(folder, look, str(process.pid)).stdout == seen
                finally:
                    process.send_signal(signal.SIGKILL)
