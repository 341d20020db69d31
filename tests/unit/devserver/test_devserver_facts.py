"""The lifecycle's state in the words of /status."""

from __future__ import annotations

from typing import get_args

import pytest

from agent.devserver.facts import _NAMES, Sample, Times, facts, problems
from agent.devserver.frames import Compile
from agent.devserver.states import BackingOff, Failed, Ledger, Ready, Starting, State, Stopped, Waiting
from agent.status import Problem

TROUBLED = Ledger(starts=3, crashes=2, trouble="it exited with status 1\nTypeError: no")


def test_every_state_has_a_name() -> None:
    assert set(_NAMES) == set(get_args(State))


def test_the_facts_carry_what_is_known() -> None:
    sample = Sample(rss=3, pss=2, cpu=0.5, processes=2)
    told = facts(Ready(TROUBLED, 7, 0.0), Times("s", "r", None), Compile(compiling=True), sample)

    assert (told.state, told.pid, told.restarts, told.crashes, told.compiling) == ("ready", 7, 2, 2, True)
    assert (told.started_at, told.ready_at) == ("s", "r")
    assert (told.rss_bytes, told.pss_bytes, told.cpu, told.processes) == (3, 2, 0.5, 2)


def test_what_is_missing_is_a_problem_only_once_the_files_had_their_chance() -> None:
    waiting = Waiting(Ledger(), "package.json is not in /w yet", 0.0)

    assert problems(waiting, synced=False) == ()
    assert problems(waiting, synced=True) == (
        Problem("dev_server", "the dev server cannot start: package.json is not in /w yet"),
    )


@pytest.mark.parametrize("state", [BackingOff(TROUBLED, "", 0.0), Starting(TROUBLED, 7, 0.0)])
def test_a_crash_is_a_problem_until_the_server_is_ready(state: State) -> None:
    (problem,) = problems(state, synced=True)

    assert problem.message == "the dev server is being started again: it exited with status 1\nTypeError: no"


def test_giving_up_says_what_helps() -> None:
    (problem,) = problems(Failed(TROUBLED, ""), synced=True)

    assert problem.message.startswith("the dev server gave up, and a change of files or POST /restart tries again: ")


def test_a_server_that_was_stopped_has_no_problem() -> None:
    assert problems(Stopped(TROUBLED), synced=True) == ()
