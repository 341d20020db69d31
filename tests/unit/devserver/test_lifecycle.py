"""The dev server's life, pair by pair and in random walks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devserver.events import (
    Answered,
    Checked,
    Effect,
    Event,
    Exited,
    FatalLogged,
    FilesChanged,
    LaunchFailed,
    Listening,
    RepairAsked,
    RestartAsked,
    Silent,
    Spawned,
    StopAsked,
    Tick,
)
from agent.devserver.lifecycle import TABLE, Ignored, Row, mermaid, step
from agent.devserver.states import (
    BACK_OFF_CAP,
    BUSY_SECONDS,
    CRASH_WINDOW,
    CRASHES_ALLOWED,
    GRACE_SECONDS,
    HUNG_SECONDS,
    START_SECONDS,
    STEADY_SECONDS,
    BackingOff,
    CrashHistory,
    Ending,
    Failed,
    Launching,
    Ready,
    Starting,
    State,
    Stopped,
    Stopping,
    Unresponsive,
    Waiting,
    deadline,
    initial_state,
)

NEW = CrashHistory()
STARTING = Starting(NEW, 7, answer_by=START_SECONDS)
READY = Ready(NEW, 7, since=0.0)
SILENT = Unresponsive(NEW, 7, since=0.0, restart_at=HUNG_SECONDS, limit_at=BUSY_SECONDS)
DIED = Exited("it died", chance=1.0)


def crashed(times: int, now: float = 0.0) -> CrashHistory:
    history = NEW
    for _ in range(times):
        history = history.with_crash(now, "it died", None)
    return history


def test_every_pair_of_a_state_and_an_event_has_its_row() -> None:
    assert set(TABLE) == set(get_args(State))
    for state, rows in TABLE.items():
        assert set(rows) == set(get_args(Event)), state.__name__


def test_an_ignored_pair_says_why() -> None:
    assert all(row.why for rows in TABLE.values() for row in rows.values() if isinstance(row, Ignored))


def test_the_diagram_shows_every_move_of_the_table() -> None:
    moves = {
        (source.__name__, target.__name__, event.__name__)
        for source, rows in TABLE.items()
        for event, row in rows.items()
        if isinstance(row, Row)
        for target in row.to
        if target is not source
    }

    drawn = re.findall(r"^    (\w+) --> (\w+): (\w+)", mermaid(), re.MULTILINE)

    assert set(drawn) == moves
    assert len(drawn) == len(moves)
    assert mermaid().startswith("stateDiagram-v2\n    [*] --> Waiting\n")


@pytest.mark.parametrize(
    ("state", "event", "now", "to", "effects"),
    [
        (initial_state(0.0), Tick(), 0.0, Waiting, (Effect.CHECK,)),
        (initial_state(0.0), Checked(None), 0.0, Launching, (Effect.LAUNCH,)),
        (initial_state(0.0), Checked("package.json is missing"), 0.0, Waiting, ()),
        (initial_state(0.0), FilesChanged("sources"), 0.0, Waiting, (Effect.CHECK,)),
        (Launching(NEW, ""), Checked("package.json is missing"), 0.0, Waiting, ()),
        (Launching(NEW, ""), Spawned(7), 0.0, Starting, ()),
        (Launching(NEW, ""), StopAsked(), 0.0, Stopping, (Effect.ABANDON,)),
        (STARTING, Answered(), 1.0, Ready, ()),
        (STARTING, Tick(), START_SECONDS - 1, Starting, ()),
        (STARTING, Tick(), START_SECONDS, Ending, (Effect.TERMINATE,)),
        (READY, Silent(busy=False), 1.0, Unresponsive, ()),
        (READY, Silent(busy=True), 1.0, Unresponsive, ()),
        (READY, FilesChanged("sources"), 1.0, Ready, ()),
        (READY, FilesChanged("config"), 1.0, Ready, ()),
        (READY, FilesChanged("restart"), 1.0, Ending, (Effect.TERMINATE,)),
        (READY, RestartAsked("asked"), 1.0, Ending, (Effect.TERMINATE,)),
        (READY, RepairAsked("its cache"), 1.0, Ending, (Effect.TERMINATE,)),
        (Failed(crashed(5), ""), RepairAsked("the disk is full"), 0.0, Failed, (Effect.REPAIR,)),
        (BackingOff(crashed(1), "", until=1.0), RepairAsked("the disk is full"), 0.0, BackingOff, (Effect.REPAIR,)),
        (initial_state(0.0), RepairAsked("the disk is full"), 0.0, Waiting, (Effect.REPAIR,)),
        (READY, StopAsked(), 1.0, Stopping, (Effect.TERMINATE,)),
        (SILENT, Answered(), 1.0, Ready, ()),
        (SILENT, Tick(), HUNG_SECONDS, Ending, (Effect.TERMINATE,)),
        (Ending(NEW, 7, "", crashed=False, kill_at=1.0), Tick(), 1.0, Ending, (Effect.KILL,)),
        (Ending(NEW, 7, "", crashed=False, kill_at=1.0), DIED, 1.0, Launching, (Effect.LAUNCH,)),
        (Ending(crashed(1), 7, "", crashed=True, kill_at=1.0), DIED, 1.0, BackingOff, ()),
        (BackingOff(crashed(1), "", until=1.0), Tick(), 0.5, BackingOff, ()),
        (BackingOff(crashed(1), "", until=1.0), Tick(), 1.0, Launching, (Effect.LAUNCH,)),
        (BackingOff(crashed(1), "", until=1.0), FilesChanged("sources"), 0.0, BackingOff, ()),
        (BackingOff(crashed(1), "", until=1.0), FilesChanged("config"), 0.0, Launching, (Effect.LAUNCH,)),
        (Failed(crashed(5), ""), FilesChanged("sources"), 0.0, Launching, (Effect.LAUNCH,)),
        (Failed(crashed(5), ""), RestartAsked("asked"), 0.0, Launching, (Effect.LAUNCH,)),
        (Stopping(NEW, 7, 1.0, 1.5), Tick(), 1.0, Stopping, (Effect.KILL,)),
        (Stopping(NEW, 7, None, 1.5), Tick(), 1.5, Stopped, (Effect.KILL,)),
        (Stopping(NEW, 7, 1.0, 1.5), DIED, 0.1, Stopped, ()),
        (Stopping(NEW, None, None, 1.5), LaunchFailed("abandoned", 0.0), 0.1, Stopped, ()),
        (Stopping(NEW, None, None, 1.5), Spawned(7), 0.1, Stopping, (Effect.TERMINATE,)),
    ],
)
def test_an_event_leads_on(
    state: State, event: Event, now: float, to: type[State], effects: tuple[Effect, ...]
) -> None:
    after, asked = step(state, event, now)

    assert (type(after), asked) == (to, effects)


@pytest.mark.parametrize("state", [STARTING, READY, SILENT])
def test_any_exit_that_was_not_asked_for_is_a_crash_and_its_error_comes_first(state: State) -> None:
    after, effects = step(state, replace(DIED, stderr="TypeError: no\n  x ^\n    at a (node:b:1:2)"), 1.0)

    assert isinstance(after, BackingOff)
    assert (after.why, after.until) == ("TypeError: no; it died", 2.0)
    assert (after.history.crashes, after.history.streak) == (1, 1)
    assert after.history.last_failure == "TypeError: no; it died\n  x ^"
    assert effects == ()


def test_an_error_before_the_first_answer_stands_until_something_changes_or_the_server_answers() -> None:
    died = replace(DIED, stderr="Error: Cannot find module 'ms'")
    after, _ = step(STARTING, died, 1.0)
    assert isinstance(after, BackingOff)
    assert after.history.error is not None
    again, _ = step(after, Tick(), after.until)
    assert again.history.error == after.history.error
    changed, _ = step(after, FilesChanged("packages"), 1.5)
    assert changed.history.error is None
    answered, _ = step(replace(STARTING, history=after.history), Answered(), 3.0)
    assert answered.history.error is None
    had_answered, _ = step(READY, died, 1.0)
    assert had_answered.history.error is None


def test_the_trouble_of_a_crash_is_over_once_the_server_answers() -> None:
    after, _ = step(replace(STARTING, history=crashed(1)), Answered(), 1.0)

    assert after.history.last_failure is None
    assert after.history.crashes == 1


def test_the_fifth_crash_within_the_window_is_the_last() -> None:
    almost, _ = step(replace(STARTING, history=crashed(CRASHES_ALLOWED - 2)), DIED, CRASH_WINDOW - 1)
    gave_up, _ = step(replace(STARTING, history=crashed(CRASHES_ALLOWED - 1)), DIED, CRASH_WINDOW - 1)
    later, _ = step(replace(STARTING, history=crashed(CRASHES_ALLOWED - 1)), DIED, CRASH_WINDOW)

    assert isinstance(almost, BackingOff)
    assert isinstance(gave_up, Failed)
    assert gave_up.why == "5 crashes within 10 minutes; the last: it died"
    assert isinstance(later, BackingOff)


@pytest.mark.parametrize("event", [FilesChanged("sources"), RestartAsked("asked")])
def test_a_new_try_after_giving_up_has_a_new_budget(event: Event) -> None:
    after, _ = step(Failed(crashed(5), "too often"), event, 1.0)

    assert (after.history.recent, after.history.streak, after.history.crashes) == ((), 0, 5)


@pytest.mark.parametrize("state", [STARTING, READY, SILENT])
def test_a_repair_forgives_no_crash(state: State) -> None:
    after, _ = step(replace(state, history=crashed(4)), RepairAsked("its memory"), 1.0)

    assert isinstance(after, Ending)
    assert (after.history, after.crashed, after.why) == (crashed(4), False, "its memory")


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (Launching(NEW, ""), LaunchFailed("a stranger holds the port", 1.0, outside=True)),
        (STARTING, Exited("a stranger holds the lock", 1.0, outside=True)),
    ],
)
def test_what_lies_outside_is_no_crash_and_is_tried_for_as_long_as_it_takes(state: State, event: Event) -> None:
    now, at = 0.0, state
    for tries in range(1, 30):
        after, _ = step(at, event, now)
        assert isinstance(after, BackingOff)
        assert after.until - now == min(2.0 ** (tries - 1), BACK_OFF_CAP)
        assert (after.history.crashes, after.history.last_failure) == (0, event.why)  # type: ignore[union-attr]
        now, at = after.until, replace(state, history=after.history)


def test_a_server_that_was_steady_is_tried_again_soon() -> None:
    shaky, _ = step(replace(READY, history=crashed(3)), DIED, STEADY_SECONDS - 1)
    steady, _ = step(replace(READY, history=crashed(3)), DIED, STEADY_SECONDS)

    assert isinstance(shaky, BackingOff)
    assert isinstance(steady, BackingOff)
    assert shaky.until - (STEADY_SECONDS - 1) == 8.0
    assert steady.until - STEADY_SECONDS == 1.0


def test_an_old_look_at_the_disk_does_not_end_a_stop_before_its_launch() -> None:
    stopping = Stopping(NEW, None, None, 1.5)

    assert step(stopping, Checked(None), 0.1) == (stopping, ())


def test_an_idle_silence_does_not_postpone_the_restart() -> None:
    after, _ = step(SILENT, Silent(busy=False), HUNG_SECONDS - 1)

    assert deadline(after) == HUNG_SECONDS


def test_a_restart_that_is_asked_for_while_a_hung_server_ends_is_not_lost() -> None:
    hung = Ending(crashed(5), 7, "hung", crashed=True, kill_at=1.0)

    asked, _ = step(hung, RestartAsked("asked"), 0.5)
    after, effects = step(asked, DIED, 0.6)

    assert isinstance(after, Launching)
    assert effects == (Effect.LAUNCH,)


def test_a_server_that_survives_its_kill_is_killed_again_and_never_joined_by_a_second_one() -> None:
    state: State = Ending(NEW, 7, "asked", crashed=False, kill_at=1.0)
    for now in (1.0, 2.0, 3.0):
        state, effects = step(state, Tick(), now)
        assert effects == (Effect.KILL,)


EVENTS: list[Callable[[float], Event]] = [
    lambda chance: Checked(None if chance < 0.7 else "something is missing"),
    lambda _: Silent(busy=True),
    lambda _: Silent(busy=False),
    lambda chance: Silent(busy=True, spinning=True, route="/loop" if chance < 0.5 else None),
    lambda chance: Listening(busy=chance < 0.5),
    lambda _: FatalLogged("no TypeScript"),
    lambda _: Answered(),
    lambda chance: Exited("it died", chance),
    lambda chance: LaunchFailed("it was not there", chance),
    lambda chance: Exited("a stranger holds the lock", chance, outside=True),
    lambda chance: LaunchFailed("a stranger holds the port", chance, outside=True),
    lambda _: RepairAsked("its memory"),
    lambda chance: FilesChanged("restart" if chance < 0.3 else "config" if chance < 0.6 else "sources"),
    lambda _: RestartAsked("asked"),
    lambda _: Spawned(7),
    lambda _: Tick(),
]
MOVE = st.tuples(
    st.sampled_from(EVENTS),
    st.floats(0, 1, exclude_max=True),
    st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, CRASH_WINDOW)),
)


class World:
    """What is really there, for the walks: a launch under way or a process, told to end or not."""

    def __init__(self) -> None:
        self.state: State = initial_state(0.0)
        self.now = 0.0
        self.launching = False
        self.processes = 0
        self.told_at: float | None = None

    def possible(self, event: Event) -> bool:
        match event:
            case Spawned() | LaunchFailed():
                return self.launching
            case Exited() | Answered() | Silent() | Listening() | FatalLogged():
                return self.processes > 0
            case _:
                return True

    def take(self, event: Event) -> None:
        before = self.state
        if isinstance(event, Spawned):
            self.launching, self.processes = False, self.processes + 1
        elif isinstance(event, LaunchFailed):
            self.launching = False
        elif isinstance(event, Exited):
            self.processes, self.told_at = 0, None
        elif isinstance(event, Checked) and event.missing is not None:
            self.launching = False
        self.state, effects = step(before, event, self.now)
        row = TABLE[type(before)][type(event)]
        assert type(self.state) in (row.to if isinstance(row, Row) else {type(before)})
        for effect in effects:
            if effect is Effect.LAUNCH:
                assert not self.launching, "a second launch beside the first"
                assert self.processes == 0, "a second process beside the first"
                self.launching = True
            elif effect is Effect.TERMINATE:
                self.told_at = self.now
            elif effect is Effect.KILL:
                self.told_at = None
        self.check()

    def check(self) -> None:
        if self.told_at is not None and self.processes:
            at = deadline(self.state)
            assert at is not None
            assert at <= self.told_at + GRACE_SECONDS, "told to end and never killed"
        if isinstance(self.state, BackingOff):
            assert self.state.until <= self.now + BACK_OFF_CAP
            assert len(self.state.history.recent) < CRASHES_ALLOWED
        if isinstance(self.state, Failed):
            assert len([at for at in self.state.history.recent if self.now - at <= CRASH_WINDOW]) <= CRASHES_ALLOWED

    def pass_time(self, seconds: float) -> None:
        """Ticks come when they are due, as the supervisor's loop has it."""
        until = self.now + seconds
        for _ in range(2000):
            at = deadline(self.state)
            if at is None or at > until:
                break
            self.now = max(self.now, at)
            self.take(Tick())
        self.now = until


@settings(max_examples=300)
@given(st.lists(MOVE, max_size=40))
def test_on_no_walk_are_there_two_processes_or_one_that_was_told_to_end_and_lives_on(
    moves: list[tuple[Callable[[float], Event], float, float]],
) -> None:
    world = World()
    for make, chance, pause in moves:
        event = make(chance)
        if world.possible(event):
            world.take(event)
        world.pass_time(pause)


@settings(max_examples=300)
@given(moves=st.lists(MOVE, max_size=25), launch_ends=st.booleans())
def test_from_everywhere_a_stop_ends_in_time_whatever_the_process_does(
    *, moves: list[tuple[Callable[[float], Event], float, float]], launch_ends: bool
) -> None:
    world = World()
    for make, chance, pause in moves:
        event = make(chance)
        if world.possible(event):
            world.take(event)
        world.pass_time(pause)

    world.take(StopAsked())
    if world.launching and launch_ends:
        world.take(Spawned(8))
    world.pass_time(GRACE_SECONDS + 0.5)

    assert isinstance(world.state, Stopped)
    assert world.told_at is None, "a process was told to end, and not killed"


@given(st.integers(1, CRASHES_ALLOWED - 1), st.floats(0, 1, exclude_max=True))
def test_a_pause_lies_between_nothing_and_its_ceiling(crashes: int, chance: float) -> None:
    after, _ = step(replace(STARTING, history=crashed(crashes - 1)), Exited("it died", chance), 1.0)

    assert isinstance(after, BackingOff)
    assert 0 <= after.until - 1.0 <= 2 ** (crashes - 1)
