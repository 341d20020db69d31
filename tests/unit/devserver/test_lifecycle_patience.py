"""The dev server's life where it cannot come up, or hangs on a page: which patience ends it, and what a change does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.devserver.events import Answered, Effect, Event, Exited, FatalLogged, FilesChanged, Listening, Silent, Tick
from agent.devserver.file_rules import Meaning
from agent.devserver.lifecycle import step
from agent.devserver.states import (
    BUSY_SECONDS,
    CONFIG_FAILURES_ALLOWED,
    EDITED_LOOP_SECONDS,
    FATAL_SECONDS,
    FIRST_LOOP_SECONDS,
    HUNG_SECONDS,
    LOOP_SECONDS,
    STALLED_SECONDS,
    START_SECONDS,
    BackingOff,
    CrashHistory,
    Ending,
    Failed,
    Launching,
    Ready,
    Starting,
    State,
    Unresponsive,
    deadline,
)

NEW = CrashHistory()
STARTING = Starting(NEW, 7, answer_by=START_SECONDS)
READY = Ready(NEW, 7, since=0.0)
SILENT = Unresponsive(NEW, 7, since=0.0, restart_at=HUNG_SECONDS, limit_at=BUSY_SECONDS)


SPINS = Silent(busy=True, spinning=True, route="/loop")


def after(state: State, *events: tuple[Event, float]) -> tuple[State, tuple[Effect, ...]]:
    effects: tuple[Effect, ...] = ()
    for event, now in events:
        state, effects = step(state, event, now)
    return state, effects


def test_a_starting_server_that_is_silent_and_idle_is_not_waited_for_until_the_end() -> None:
    idle, _ = after(STARTING, (Silent(busy=False), 1.0))
    busy, _ = after(idle, (Silent(busy=True), 2.0))
    ended, effects = after(idle, (Tick(), 1.0 + STALLED_SECONDS))

    assert deadline(idle) == 1.0 + STALLED_SECONDS
    assert deadline(busy) == START_SECONDS
    assert isinstance(ended, Ending)
    assert (ended.crashed, effects) == (True, (Effect.TERMINATE,))
    assert ended.why == "it has not answered, and used no CPU for 20 s"


def test_one_that_said_that_it_gave_up_is_believed_once_it_is_silent_and_idle_too() -> None:
    said, _ = after(STARTING, (FatalLogged("no TypeScript"), 1.0))
    silent, _ = after(said, (Silent(busy=False), 2.0))
    lives, _ = after(silent, (Listening(busy=False), 3.0))
    ended, _ = after(silent, (Tick(), 2.0 + FATAL_SECONDS))

    assert deadline(said) == START_SECONDS
    assert deadline(silent) == 2.0 + FATAL_SECONDS
    assert deadline(lives) == 2.0 + STALLED_SECONDS
    assert isinstance(ended, Ending)
    assert ended.history.last_failure == "it never answers after this: no TypeScript"


@pytest.mark.parametrize("meaning", ["sources", "packages", "config", "restart"])
def test_any_change_starts_one_anew_that_said_that_it_gave_up(meaning: Meaning) -> None:
    ended, effects = after(STARTING, (FatalLogged("no TypeScript"), 1.0), (FilesChanged(meaning, "why"), 1.5))

    assert isinstance(ended, Ending)
    assert (ended.crashed, effects) == (False, (Effect.TERMINATE,))


def test_a_change_of_the_configuration_starts_an_idle_one_anew_and_one_of_the_sources_does_not() -> None:
    idle, _ = after(STARTING, (Silent(busy=False), 1.0))

    assert isinstance(step(idle, FilesChanged("packages"), 2.0)[0], Ending)
    assert step(idle, FilesChanged("sources"), 2.0) == (idle, ())
    assert step(STARTING, FilesChanged("packages"), 2.0) == (STARTING, ())


def test_a_server_whose_first_page_waits_for_a_slow_service_is_ready() -> None:
    events = [(Listening(busy=False), float(now)) for now in range(1, int(STALLED_SECONDS) + 2)]
    almost, _ = after(STARTING, *events[:-1])
    ready, _ = after(STARTING, *events)
    compiles, _ = after(STARTING, *events[:-1], (Listening(busy=True), STALLED_SECONDS + 1.0))

    assert isinstance(almost, Starting)
    assert isinstance(ready, Ready)
    assert deadline(compiles) == START_SECONDS


def test_the_same_error_of_the_configuration_twice_is_given_up_and_any_change_starts_it_at_once() -> None:
    died = Exited("next.config cannot be loaded", 1.0, config_error=True)
    once, _ = after(STARTING, (died, 1.0))
    assert isinstance(once, BackingOff)
    twice, _ = after(replace(STARTING, history=once.history), (died, 2.0))
    other, _ = after(replace(STARTING, history=once.history), (replace(died, why="another"), 2.0))

    assert isinstance(twice, Failed)
    assert (twice.why, twice.history.crashes) == ("next.config cannot be loaded", CONFIG_FAILURES_ALLOWED)
    assert isinstance(other, BackingOff)
    for state in (once, twice):
        started, effects = step(state, FilesChanged("sources"), 3.0)
        assert isinstance(started, Launching)
        assert (effects, started.history.config_failures) == ((Effect.LAUNCH,), 0)


def test_a_server_that_spins_is_ended_with_its_route_which_is_no_crash() -> None:
    spins, _ = after(READY, (SPINS, 8.0))
    state, effects = after(spins, (SPINS, 20.0), (Tick(), 8.0 + LOOP_SECONDS))

    assert deadline(spins) == 8.0 + LOOP_SECONDS
    assert isinstance(state, Ending)
    assert (state.route, state.crashed, effects) == ("/loop", False, (Effect.TERMINATE,))
    assert state.why == "/loop kept the dev server busy for 30 s, so that it did not answer anything else"


def test_one_that_spins_for_no_request_is_a_crash() -> None:
    state, _ = after(READY, (Silent(busy=True, spinning=True), 8.0), (Tick(), 8.0 + LOOP_SECONDS))

    assert isinstance(state, Ending)
    assert (state.route, state.crashed) == (None, True)


@pytest.mark.parametrize("mended_first", [False, True])
def test_a_change_ends_one_that_spins_within_seconds_and_keeps_no_route_away(*, mended_first: bool) -> None:
    change = FilesChanged("sources")
    if mended_first:  # while it hung already, and nobody had noticed
        state, effects = after(READY, (change, 5.0), (SPINS, 8.0), (Tick(), 8.0 + EDITED_LOOP_SECONDS))
    else:
        state, effects = after(READY, (SPINS, 8.0), (change, 9.0))

    assert isinstance(state, Ending)
    assert (state.route, state.crashed, effects) == (None, False, (Effect.TERMINATE,))


def test_a_change_before_the_last_sign_of_life_ends_nothing() -> None:
    spins, _ = after(READY, (FilesChanged("sources"), 5.0), (Answered(), 6.0), (SPINS, 14.0))

    assert deadline(spins) == 14.0 + LOOP_SECONDS


def test_one_that_begins_to_compile_does_not_spin_any_more() -> None:
    compiles, _ = after(READY, (SPINS, 8.0), (Silent(busy=True), 20.0))

    assert deadline(compiles) == 20.0 + HUNG_SECONDS


def test_a_first_page_that_spins_is_named_too() -> None:
    spins = replace(SPINS, route="/")
    state, _ = after(STARTING, (spins, 10.0), (Tick(), 10.0 + FIRST_LOOP_SECONDS))
    mended, _ = after(STARTING, (spins, 10.0), (FilesChanged("sources"), 11.0))

    assert isinstance(state, Ending)
    assert (state.route, state.crashed) == ("/", False)
    assert isinstance(mended, Ending)
    assert mended.route is None


def test_a_busy_server_is_given_time_and_a_spinning_one_is_not() -> None:
    state: State = SILENT
    for now in range(1, int(BUSY_SECONDS) + 60):
        state, effects = step(state, Silent(busy=True), float(now))
        state, effects = step(state, Tick(), float(now))
        if effects:
            break

    assert now == BUSY_SECONDS
    assert isinstance(state, Ending)
    assert state.crashed
