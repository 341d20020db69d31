"""The lifecycle's state in the words of /status."""

from __future__ import annotations

from typing import get_args

import pytest

from agent.devserver.facts import _NAMES, RepairStatus, Times, facts, problems
from agent.devserver.nextjs.hmr_messages import Compile
from agent.devserver.repair.evidence import DiskSpace
from agent.devserver.repair.history import RepairHistory
from agent.devserver.repair.memory_limit import MIB, Memory
from agent.devserver.states import BackingOff, CrashHistory, Failed, Ready, Starting, State, Stopped, Waiting
from agent.process.sample import Sample
from agent.status import Problem, Repair

TROUBLED = CrashHistory(starts=3, crashes=2, last_failure="it exited with status 1\nTypeError: no")

REPAIRS = RepairStatus(
    Memory(512 * MIB, 100 * MIB, 1),
    DiskSpace(5 * MIB, 10 * MIB),
    RepairHistory((Repair("restarted it", "it was full", "t", "running"),), total=7),
    ("the machine is too small",),
)


def test_every_state_has_a_name() -> None:
    assert set(_NAMES) == set(get_args(State))


def test_the_facts_carry_what_is_known() -> None:
    sample = Sample(rss=3, pss=2, cpu=0.5, processes=2)
    told = facts(Ready(TROUBLED, 7, 0.0), Times("s", "r", None), Compile(compiling=True), sample, REPAIRS)

    assert (told.state, told.pid, told.restarts, told.crashes, told.compiling) == ("ready", 7, 2, 2, True)
    assert (told.started_at, told.ready_at) == ("s", "r")
    assert (told.memory_limit_bytes, told.memory_used_bytes, told.oom_kills) == (512 * MIB, 100 * MIB, 1)
    assert (told.disk_free_bytes, told.repairs, told.repaired) == (5 * MIB, REPAIRS.history.entries, 7)
    assert (told.rss_bytes, told.pss_bytes, told.cpu, told.processes) == (3, 2, 0.5, 2)


def test_times_follow_the_states_and_readiness_outlives_its_process() -> None:
    started = Starting(CrashHistory(), 7, 0.0)
    ready = Ready(CrashHistory(), 7, 0.0)
    pause = BackingOff(CrashHistory(), "it crashed", until=12.0)

    born = Times().after(Waiting(CrashHistory(), "", 0.0), started, now=0.0, wall=0.0)
    seen = born.after(started, ready, now=2.0, wall=2.0)
    waits = seen.after(ready, pause, now=10.0, wall=10.0)

    assert born == Times("1970-01-01T00:00:00.000Z", None, None)
    assert seen == Times("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:02.000Z", None)
    assert waits == Times(seen.started_at, seen.ready_at, "1970-01-01T00:00:12.000Z")
    assert waits.after(pause, started, now=12.0, wall=12.0).next_try_at is None


def test_what_is_missing_is_a_problem_only_once_the_files_had_their_chance() -> None:
    waiting = Waiting(CrashHistory(), "package.json is not in /w yet", 0.0)

    assert problems(waiting, RepairStatus(), waits_for_files=False) == ()
    assert problems(waiting, RepairStatus(), waits_for_files=True) == (
        Problem("dev_server", "the dev server cannot start: package.json is not in /w yet", code="cannot-start"),
    )


@pytest.mark.parametrize("state", [BackingOff(TROUBLED, "", 0.0), Starting(TROUBLED, 7, 0.0)])
def test_a_crash_is_a_problem_until_the_server_is_ready(state: State) -> None:
    (problem,) = problems(state, RepairStatus(), waits_for_files=True)

    assert problem.message == "the dev server is being started again: it exited with status 1\nTypeError: no"


def test_giving_up_says_what_helps() -> None:
    (problem,) = problems(Failed(TROUBLED, ""), RepairStatus(), waits_for_files=True)

    assert problem.message.startswith("the dev server gave up, and a change of files or POST /restart tries again: ")


def test_a_server_that_was_stopped_has_no_problem() -> None:
    assert problems(Stopped(TROUBLED), RepairStatus(), waits_for_files=True) == ()


def test_what_cannot_be_repaired_from_within_is_a_problem_while_the_server_runs_too() -> None:
    assert problems(Ready(CrashHistory(), 7, 0.0), REPAIRS, waits_for_files=True) == (
        Problem("dev_server", "the machine is too small", code="resource-limit"),
    )
    assert problems(Stopped(TROUBLED), REPAIRS, waits_for_files=True) == ()
