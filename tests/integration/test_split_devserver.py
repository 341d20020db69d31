"""The dev server as another user, for real: what it may do, and that root still ends all of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agent.devserver.repair import caches
from agent.devserver.repair.evidence import DiskSpace
from agent.isolation.child_environment import RUN_MARK
from agent.isolation.sandbox import NICENESS, OOM_SCORE, TASKS_MOST, confined
from agent.process import orphans
from agent.process.child import describe_exit, spawn
from agent.process.find import is_free, with_run_mark
from tests.peers.dev_server import ODD_SERVER, living, running
from tests.peers.split import NOBODY, PYTHON, as_nobody, needs_split, nobody, open_folder

pytestmark = needs_split


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as folder:
        (folder / "workspace").mkdir()
        shutil.copy(ODD_SERVER, folder / "odd_server.py")
        yield folder


def odd_server(place: Path, port: int, *flags: str) -> tuple[str, ...]:
    return (PYTHON, "-S", "-E", str(place / "odd_server.py"), str(port), *flags)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def limit(pid: int, name: str) -> tuple[int, int]:
    (line,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(name))
    soft, hard = line.removeprefix(name).split()[:2]
    return int(soft), int(hard)


async def test_it_runs_as_its_own_user_without_any_privilege(place: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    async with running(odd_server(place, port, "fork"), place, port, user=nobody(place)) as it:
        ready = await it.board.state("ready")
        assert ready.pid is not None
        family = living(ready.pid)
        assert len(family) == 2
        for process in family:
            facts = status(process.pid)
            assert set(facts["Uid"].split()) == set(facts["Gid"].split()) == {str(NOBODY)}
            assert facts["Groups"] == ""
            assert facts["NoNewPrivs"] == "1"
            assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
            assert oom_score(process.pid) == OOM_SCORE
            assert psutil.Process(process.pid).nice() == psutil.Process().nice() + NICENESS
            assert limit(process.pid, "Max core file size") == (0, 0)
            assert limit(process.pid, "Max processes") == (TASKS_MOST, TASKS_MOST)
        assert psutil.Process(ready.pid).environ()["HOME"] == str(place / "home")
        await it.supervisor.stop()
        assert not living(ready.pid)


async def test_what_left_group_and_session_is_ended_all_the_same(place: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    async with running(odd_server(place, port, "deaf", "child", "daemon"), place, port, user=nobody(place)) as it:
        await it.board.state("ready")
        run = psutil.Process(it.board.pid).environ()[RUN_MARK]
        assert len(with_run_mark(run)) == 3
        await it.supervisor.stop()
        assert with_run_mark(run) == []
        assert is_free(port)


async def test_the_orphan_of_a_killed_agent_is_ended_by_the_next_one(place: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    heard: list[str] = []
    child = spawn(
        odd_server_as_nobody(place, port),
        workspace=place,
        environ={RUN_MARK: "r1"},
        run="r1",
        on_line=lambda _, line: heard.append(line),
    )
    try:
        orphans.write_record(place / "state", orphans.RunRecord("r1"))
        await orphans.free_port(place / "state", port)
        assert describe_exit(await child.wait_gone()) == "it was ended by SIGKILL"
    finally:
        child.end_now()


def odd_server_as_nobody(place: Path, port: int) -> tuple[str, ...]:
    return confined(odd_server(place, port), nobody(place))


async def test_a_program_that_is_not_there_is_named(place: Path, free_port: Callable[[], int]) -> None:
    async with running(("no-such-program",), place, free_port(), user=nobody(place)) as it:
        await it.board.until(lambda: it.board.told.get("dev_server"))
        (problem,) = it.board.told["dev_server"]
    assert "no-such-program" in problem.message


def test_what_was_given_up_cannot_be_had_back(place: Path) -> None:
    script = """
import json, os
said = {}
for name, attempt in {
    "setuid": lambda: os.setuid(0),
    "setgid": lambda: os.setgid(0),
    "setgroups": lambda: os.setgroups([0]),
    "oom": lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1"),
    "etc": lambda: open("/etc/planted-by-a-test", "x"),
}.items():
    try:
        attempt()
        said[name] = "went through"
    except OSError as error:
        said[name] = "refused"
print(json.dumps(said))
"""
    done = as_nobody(place, script)
    assert set(json.loads(done.stdout).values()) == {"refused"}, done.stdout + done.stderr
    assert not Path("/etc/planted-by-a-test").exists()


def test_a_setuid_program_gives_nothing(place: Path) -> None:
    shutil.copy("/usr/bin/id", place / "id")
    (place / "id").chmod(0o4755)
    done = as_nobody(place, "import subprocess, sys; subprocess.run([sys.argv[1], '-u'])", str(place / "id"))
    assert done.stdout == f"{NOBODY}\n"


def test_the_agents_own_environment_and_memory_are_closed_to_it(place: Path) -> None:
    script = """
import os, sys
for name in ("environ", "mem", "maps", "fd", "cwd"):
    try:
        at = f"/proc/{sys.argv[1]}/{name}"
        os.listdir(at) if name == "fd" else os.readlink(at) if name == "cwd" else open(at, "rb").read(1)
        print("read", name)
    except PermissionError:
        pass
try:
    os.kill(int(sys.argv[1]), 0)
    print("signalled")
except PermissionError:
    pass
"""
    done = as_nobody(place, script, str(os.getpid()))
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


async def test_a_full_disk_costs_the_package_managers_caches_in_its_home_too(
    place: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "fullest", lambda _: DiskSpace(0, 1))
    user, port = nobody(place), free_port()
    for folder in ("home/.npm/_cacache", "home/.npm/_logs", "workspace/.next/dev/cache/turbopack"):
        (place / folder).mkdir(parents=True)
    async with running(odd_server(place, port), place, port, user=user) as it:
        await it.board.state("ready")
        assert it.supervisor.free_space("the sync could not write")
        ready = await it.board.state("ready", starts=1)

    assert ready.repairs[0].outcome.startswith("ready after")
    assert [path.name for path in (user.home / ".npm").iterdir()] == ["_logs"]
    assert not (place / "workspace/.next/dev/cache").exists()
