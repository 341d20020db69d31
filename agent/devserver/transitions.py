"""The functions of lifecycle's table: (state, event, now) → the next state and the effects it asks for. Pure.

The table in `lifecycle` says which function belongs to which pair, and its invariants hold here too.

What must not live here: the table, time, chance and processes.
"""

from __future__ import annotations

from dataclasses import replace

from agent.clock import full_jitter
from agent.devserver.events import (
    Answered,
    Checked,
    Effect,
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
from agent.devserver.states import (
    BACK_OFF_BASE,
    BACK_OFF_CAP,
    BUSY_SECONDS,
    CHECK_SECONDS,
    CONFIG_FAILURES_ALLOWED,
    CRASH_WINDOW,
    CRASHES_ALLOWED,
    GRACE_SECONDS,
    HUNG_SECONDS,
    KILLED_SECONDS,
    SPIN_DETECTION_SECONDS,
    STALLED_SECONDS,
    START_SECONDS,
    BackingOff,
    CrashHistory,
    Ending,
    Failed,
    Idle,
    Launching,
    Ready,
    Serving,
    Starting,
    Stopped,
    Stopping,
    Transition,
    Unresponsive,
    Waiting,
)


def launch(history: CrashHistory, why: str) -> Transition:
    return Launching(history, why), (Effect.LAUNCH,)


def after_crash(history: CrashHistory, now: float, why: str, chance: float) -> Transition:
    if history.config_failures >= CONFIG_FAILURES_ALLOWED:  # another try would fail the same way
        return Failed(history, why), ()
    if len(history.recent) >= CRASHES_ALLOWED:
        return Failed(
            history, f"{len(history.recent)} crashes within {CRASH_WINDOW / 60:.0f} minutes; the last: {why}"
        ), ()
    return back_off(history, now, why, chance)


def back_off(history: CrashHistory, now: float, why: str, chance: float) -> Transition:
    pause = full_jitter(history.streak, base=BACK_OFF_BASE, cap=BACK_OFF_CAP, chance=chance)
    return BackingOff(history, why, until=now + pause), ()


def launch_if_complete(state: Waiting, event: Checked, now: float) -> Transition:
    if event.missing is None:
        return launch(state.history, "everything that it needs is on disk")
    return replace(state, missing=event.missing, check_at=now + CHECK_SECONDS), ()


def check_when_due(state: Waiting, _: Tick, now: float) -> Transition:
    if now < state.check_at:
        return state, ()
    return replace(state, check_at=now + CHECK_SECONDS), (Effect.CHECK,)


def check_now(state: Waiting, _: FilesChanged, __: float) -> Transition:
    return state, (Effect.CHECK,)


def wait_for_missing(state: Launching, event: Checked, now: float) -> Transition:
    if event.missing is None:
        return state, ()
    return Waiting(state.history, event.missing, check_at=now + CHECK_SECONDS), ()


def start(state: Launching, event: Spawned, now: float) -> Transition:
    history = replace(state.history, starts=state.history.starts + 1)
    return Starting(history, event.pid, answer_by=now + START_SECONDS), ()


def launch_failed(state: Launching, event: LaunchFailed, now: float) -> Transition:
    if event.outside:
        return back_off(state.history.with_outside_failure(event.why), now, event.why, event.chance)
    return after_crash(state.history.with_crash(now, event.why, None), now, event.why, event.chance)


def cancel_launch(state: Launching, _: StopAsked, now: float) -> Transition:
    give_up_at = now + GRACE_SECONDS + KILLED_SECONDS
    return Stopping(state.history, pid=None, kill_at=None, give_up_at=give_up_at), (Effect.ABANDON,)


def end_process(
    state: Serving, why: str, now: float, *, crashed: bool, config_error: bool = False, route: str | None = None
) -> Transition:
    ready_since = None if isinstance(state, Starting) else state.since
    history = state.history.with_crash(now, why, ready_since, config_error=config_error) if crashed else state.history
    return Ending(history, state.pid, why, crashed, now + GRACE_SECONDS, route), (Effect.TERMINATE,)


def end_if_start_overdue(state: Starting, _: Tick, now: float) -> Transition:
    if state.stall_deadline is not None and now >= state.stall_deadline:
        if state.fatal is not None:
            return end_process(
                state, f"it never answers after this: {state.fatal}", now, crashed=True, config_error=True
            )
        why = f"it has not answered, and used no CPU for {STALLED_SECONDS:.0f} s"
        return end_process(state, why, now, crashed=True)
    if state.spinning_since is not None and state.loop_deadline is not None and now >= state.loop_deadline:
        return end_for_loop(state, state.spinning_since, now)
    if now < state.answer_by:
        return state, ()
    return end_process(state, f"it has not answered within {START_SECONDS:.0f} s of its start", now, crashed=True)


def end_if_hung(state: Unresponsive, _: Tick, now: float) -> Transition:
    if state.spinning_since is not None and state.loop_deadline is not None and now >= state.loop_deadline:
        return end_for_edit_during_loop(state, now) if state.changed else end_for_loop(state, state.spinning_since, now)
    if now < state.restart_at:
        return state, ()
    return end_process(state, "it was hung: it answered nothing and used no CPU", now, crashed=True)


def end_for_loop(state: Starting | Unresponsive, since: float, now: float) -> Transition:
    """Not a crash if the page is known: it is not requested from the next process, which therefore stays up."""
    seconds = now - since + SPIN_DETECTION_SECONDS
    if state.route is None:
        why = f"it was busy for {seconds:.0f} s without compiling, and did not answer"
        return end_process(state, why, now, crashed=True)
    why = f"{state.route} kept the dev server busy for {seconds:.0f} s, so that it did not answer anything else"
    return end_process(state, why, now, crashed=False, route=state.route)


def end_for_edit_during_loop(state: Unresponsive, now: float) -> Transition:
    """Next cannot read a change while it spins. The change may have ended the loop, so no page is held back."""
    busy = state.route or "something"
    return end_process(state, f"files changed while {busy} kept the dev server busy", now, crashed=False)


def exited(state: Serving, event: Exited, now: float) -> Transition:
    if event.outside:
        return back_off(state.history.with_outside_failure(event.why), now, event.why, event.chance)
    ready_since = None if isinstance(state, Starting) else state.since
    history = state.history.with_crash(
        now, event.report, ready_since, config_error=event.config_error, error=event.error
    )
    return after_crash(history, now, event.reason, event.chance)


def changed_while_ready(state: Ready, event: FilesChanged, now: float) -> Transition:
    if event.meaning == "restart":
        return end_process(state, event.why, now, crashed=False)
    return replace(state, changed=True), ()


def changed_while_silent(state: Unresponsive, event: FilesChanged, now: float) -> Transition:
    if event.meaning == "restart":
        return end_process(state, event.why, now, crashed=False)
    if state.spinning_since is not None:
        return end_for_edit_during_loop(state, now)
    return replace(state, changed=True), ()


def changed_while_starting(state: Starting, event: FilesChanged, now: float) -> Transition:
    """Restart it if it will not read the change by itself: it gave up, spins, or is stuck."""
    if event.meaning == "restart":
        return end_process(state, event.why, now, crashed=False)
    if state.fatal is not None:
        return end_process(with_new_budget(state), f"files changed after it logged: {state.fatal}", now, crashed=False)
    if state.spinning_since is not None:
        return end_process(state, "files changed while its first page kept it busy", now, crashed=False)
    if state.quiet_since is not None and event.meaning != "sources":
        return end_process(
            with_new_budget(state), "its configuration changed while it was stuck in its start", now, crashed=False
        )
    return state, ()


def with_new_budget(state: Starting) -> Starting:
    return replace(state, history=state.history.with_new_budget())


def note_fatal(state: Starting, event: FatalLogged, _: float) -> Transition:
    return replace(state, fatal=state.fatal or event.why), ()


def note_silence(state: Starting, event: Silent, now: float) -> Transition:
    return replace(
        state,
        quiet_since=None if event.busy else _since(state.quiet_since, now),
        spinning_since=_since(state.spinning_since, now) if event.spinning else None,
        route=event.route or state.route,
    ), ()


def note_listening(state: Starting, event: Listening, now: float) -> Transition:
    """The server answers while its first page may wait for a slow service: it counts as ready after a while."""
    quiet_since = None if event.busy else _since(state.quiet_since, now)
    if quiet_since is not None and now - quiet_since >= STALLED_SECONDS:
        return became_ready(state, Answered(), now)
    return replace(state, quiet_since=quiet_since, spinning_since=None, fatal=None), ()


def _since(since: float | None, now: float) -> float:
    return now if since is None else since


def end_for_restart(state: Serving, event: RestartAsked, now: float) -> Transition:
    return end_process(replace(state, history=state.history.with_new_budget()), event.why, now, crashed=False)


def end_for_repair(state: Serving, event: RepairAsked, now: float) -> Transition:
    return end_process(state, event.why, now, crashed=False)


def repair_now(state: Idle, _: RepairAsked, __: float) -> Transition:
    return state, (Effect.REPAIR,)


def end_for_stop(state: Serving, _: StopAsked, now: float) -> Transition:
    kill_at = now + GRACE_SECONDS
    return Stopping(state.history, state.pid, kill_at, kill_at + KILLED_SECONDS), (Effect.TERMINATE,)


def became_ready(state: Starting, _: Answered, now: float) -> Transition:
    return Ready(replace(state.history, last_failure=None, error=None), state.pid, since=now), ()


def still_ready(state: Ready, _: Answered, __: float) -> Transition:
    return (replace(state, changed=False) if state.changed else state), ()


def became_unresponsive(state: Ready, event: Silent, now: float) -> Transition:
    silent = Unresponsive(
        state.history, state.pid, state.since, now + HUNG_SECONDS, now + BUSY_SECONDS, changed=state.changed
    )
    return still_silent(silent, event, now)


def recovered(state: Unresponsive, _: Answered, __: float) -> Transition:
    return Ready(state.history, state.pid, state.since), ()


def still_silent(state: Unresponsive, event: Silent, now: float) -> Transition:
    spinning_since = _since(state.spinning_since, now) if event.spinning else None
    state = replace(state, spinning_since=spinning_since, route=event.route or state.route)
    if not event.busy or event.spinning:
        return state, ()
    return replace(state, restart_at=min(now + HUNG_SECONDS, state.limit_at)), ()


def launch_or_back_off(state: Ending, event: Exited, now: float) -> Transition:
    if state.crashed:
        return after_crash(state.history, now, state.why, event.chance)
    return launch(state.history, state.why)


def kill_if_overdue(state: Ending, _: Tick, now: float) -> Transition:
    """Repeat SIGKILL until it is gone: a second process would compete for the port and the cache."""
    if now < state.kill_at:
        return state, ()
    return replace(state, kill_at=now + GRACE_SECONDS), (Effect.KILL,)


def make_it_a_restart(state: Ending, event: RestartAsked, _: float) -> Transition:
    return replace(state, history=state.history.with_new_budget(), why=event.why, crashed=False), ()


def make_it_a_stop(state: Ending, _: StopAsked, now: float) -> Transition:
    kill_at = min(state.kill_at, now + GRACE_SECONDS)
    return Stopping(state.history, state.pid, kill_at, kill_at + KILLED_SECONDS), ()


def launch_when_due(state: BackingOff, _: Tick, now: float) -> Transition:
    return (state, ()) if now < state.until else launch(state.history, state.why)


def launch_if_configuration_changed(state: BackingOff, event: FilesChanged, _: float) -> Transition:
    if event.meaning == "sources" and not state.history.config_failures:  # a compile error does not end a server
        return state, ()
    return launch(state.history.with_new_budget(), "its configuration changed")


def launch_after_change(state: Failed, _: FilesChanged, __: float) -> Transition:
    return launch(state.history.with_new_budget(), "files changed")


def launch_as_asked(state: Idle, event: RestartAsked, _: float) -> Transition:
    return launch(state.history.with_new_budget(), event.why)


def stop_without_process(state: Idle, _: StopAsked, __: float) -> Transition:
    return Stopped(state.history), ()


def end_late_process(state: Stopping, event: Spawned, now: float) -> Transition:
    kill_at = now + GRACE_SECONDS
    return Stopping(state.history, event.pid, kill_at, kill_at + KILLED_SECONDS), (Effect.TERMINATE,)


def stopped(state: Stopping, _: Exited, __: float) -> Transition:
    return Stopped(state.history), ()


def stop_if_launch_over(state: Stopping, event: LaunchFailed | Checked, _: float) -> Transition:
    """The launch ended without a process, unless this event answers an earlier check."""
    found_nothing_missing = isinstance(event, Checked) and event.missing is None
    return (state, ()) if found_nothing_missing or state.pid is not None else (Stopped(state.history), ())


def escalate_stop(state: Stopping, _: Tick, now: float) -> Transition:
    if now >= state.give_up_at:
        return Stopped(state.history), (Effect.KILL,)
    if state.kill_at is not None and now >= state.kill_at:
        return replace(state, kill_at=None), (Effect.KILL,)
    return state, ()
