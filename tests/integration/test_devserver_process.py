"""One process group, without a supervisor: heard to its last word, reaped, and gone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.clock import Clock
from agent.process.child import Child, SpawnFailed, describe_exit, spawn
from agent.process.usage import Sampler
from tests.peers.dev_server import living

Heard = list[tuple[str, str]]


@pytest.fixture
def heard() -> Heard:
    return []


@pytest.fixture
def ready() -> asyncio.Event:
    """Set by the first line that a child prints."""
    return asyncio.Event()


@pytest.fixture
def python(tmp_path: Path, heard: Heard, ready: asyncio.Event) -> Callable[[str], Child]:
    def hear(stream: str, line: str) -> None:
        heard.append((stream, line))
        ready.set()

    def start(code: str) -> Child:
        command = (sys.executable, "-S", "-E", "-c", code)
        return spawn(
            command,
            workspace=tmp_path,
            environ={"PATH": os.environ["PATH"], "PREVIEW_AGENT_RUN": "r1"},
            run="r1",
            on_line=hear,
        )

    return start


async def test_both_streams_are_heard_and_the_status_is_told(python: Callable[[str], Child], heard: Heard) -> None:
    child = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

    async with asyncio.timeout(10):
        assert await child.wait_gone() == 3
    assert sorted(heard) == [("stderr", "err"), ("stdout", "out")]
    assert child.stderr_tail() == "err"


async def test_nothing_is_read_from_standard_input(python: Callable[[str], Child], heard: Heard) -> None:
    child = python("import sys; print(repr(sys.stdin.read()))")

    async with asyncio.timeout(10):
        await child.wait_gone()
    assert heard == [("stdout", "''")]


async def test_the_last_words_are_heard_even_where_the_loop_got_no_turn(
    python: Callable[[str], Child], heard: Heard
) -> None:
    child = python("print('farewell', end='')")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop is to get no turn

    child.end_now()
    child.end_now()

    assert heard == [("stdout", "farewell")]


async def test_an_end_at_once_takes_the_whole_group(python: Callable[[str], Child]) -> None:
    child = python("import os, time; os.fork(); os.fork(); time.sleep(60)")

    child.end_now()

    assert not living(child.pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait: that is what WNOHANG says


async def test_signals_after_the_end_hurt_nobody(python: Callable[[str], Child]) -> None:
    child = python("pass")
    async with asyncio.timeout(10):
        await child.wait_gone()

    child.terminate()
    child.kill()
    child.end_now()


async def test_no_descriptor_is_left_open(python: Callable[[str], Child]) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the count is all that matters
    for _ in range(5):
        child = python("pass")
        async with asyncio.timeout(10):
            await child.wait_gone()

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the count is all that matters
    with pytest.raises(SpawnFailed, match=f"ls could not be started in {tmp_path}/gone: No such file or directory"):
        spawn(("ls",), workspace=tmp_path / "gone", environ={}, run="r1", on_line=lambda *_: None)

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


async def test_a_sample_counts_the_whole_tree(python: Callable[[str], Child], ready: asyncio.Event) -> None:
    child = python(
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    x = b'x' * 30_000_000; print('ready', flush=True)\n"
        "    while True: pass\n"
        "time.sleep(60)"
    )
    try:
        async with asyncio.timeout(10):
            await ready.wait()
        sampler = Sampler(child.pid)
        first = sampler.sample(0.0, with_pss=True)
        spun_until = Clock().monotonic() + 0.2
        while Clock().monotonic() < spun_until:
            pass
        second = sampler.sample(0.2, with_pss=False)

        assert first.processes == 2
        assert first.cpu == 0.0, "there is nothing to compare the first one with"
        assert first.pss is not None
        assert 30_000_000 < first.pss < first.rss
        assert second.cpu > 0.0
        assert second.pss == first.pss, "the last known is told"
    finally:
        child.end_now()


@pytest.mark.parametrize(
    ("status", "words"),
    [(3, "it exited with status 3"), (-9, "it was ended by SIGKILL"), (0, "it exited with status 0 without being")],
)
def test_a_status_is_told_in_words(status: int, words: str) -> None:
    assert describe_exit(status).startswith(words)
