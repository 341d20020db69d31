"""What each row of lifecycle's table does: (state, event, now) → the next state and the effects asked for. Pure.

Invariants are those of `lifecycle`, where the table says which function belongs to which pair.

What must not live here: the table, time, chance and processes.
"""

from __future__ import annotations

from dataclasses import replace

from agent.clock import full_jitter
from agent.devserver.states import (
    BACK_OFF_BASE,
    BACK_OFF_CAP,
    BUSY_SECONDS,
    CHECK_SECONDS,
    CRASH_WINDOW,
    CRASHES_ALLOWED,
    GRACE_SECONDS,
    HUNG_SECONDS,
    KILLED_SECONDS,
    KNOWN_ALLOWED,
    SEEN_SECONDS,
    STALLED_SECONDS,
    START_SECONDS,
    Answered,
    BackingOff,
    Checked,
    Effect,
    Ending,
    Exited,
    Failed,
    FatalSaid,
    FilesChanged,
    Idle,
    LaunchFailed,
    Launching,
    Ledger,
    Listening,
    Ready,
    RepairAsked,
    RestartAsked,
    Serving,
    Silent,
    Spawned,
    Starting,
    Step,
    StopAsked,
    Stopped,
    Stopping,
    Tick,
    Unresponsive,
    Waiting,
)


def launch(ledger: Ledger, why: str) -> Step:
    return Launching(ledger, why), (Effect.LAUNCH,)


def after_crash(ledger: Ledger, now: float, why: str, chance: float) -> Step:
    if ledger.known >= KNOWN_ALLOWED:  # its cause stands unchanged: no loop, and the failed page says it at once
        return Failed(ledger, why), ()
    if len(ledger.recent) >= CRASHES_ALLOWED:
        return Failed(
            ledger, f"{len(ledger.recent)} crashes within {CRASH_WINDOW / 60:.0f} minutes; the last: {why}"
        ), ()
    return back_off(ledger, now, why, chance)


def back_off(ledger: Ledger, now: float, why: str, chance: float) -> Step:
    pause = full_jitter(ledger.streak, base=BACK_OFF_BASE, cap=BACK_OFF_CAP, chance=chance)
    return BackingOff(ledger, why, until=now + pause), ()


def checked(state: Waiting, event: Checked, now: float) -> Step:
    if event.missing is None:
        return launch(state.ledger, "everything it needs is there")
    return replace(state, missing=event.missing, check_at=now + CHECK_SECONDS), ()


def check_when_due(state: Waiting, _: Tick, now: float) -> Step:
    if now < state.check_at:
        return state, ()
    return replace(state, check_at=now + CHECK_SECONDS), (Effect.CHECK,)


def check_now(state: Waiting, _: FilesChanged, __: float) -> Step:
    return state, (Effect.CHECK,)


def found_missing(state: Launching, event: Checked, now: float) -> Step:
    if event.missing is None:
        return state, ()
    return Waiting(state.ledger, event.missing, check_at=now + CHECK_SECONDS), ()


def spawned(state: Launching, event: Spawned, now: float) -> Step:
    ledger = replace(state.ledger, starts=state.ledger.starts + 1)
    return Starting(ledger, event.pid, answer_by=now + START_SECONDS), ()


def not_launched(state: Launching, event: LaunchFailed, now: float) -> Step:
    if event.outside:
        return back_off(state.ledger.hindered(event.why), now, event.why, event.chance)
    return after_crash(state.ledger.crashed(now, event.why, None), now, event.why, event.chance)


def abandon(state: Launching, _: StopAsked, now: float) -> Step:
    give_up_at = now + GRACE_SECONDS + KILLED_SECONDS
    return Stopping(state.ledger, pid=None, kill_at=None, give_up_at=give_up_at), (Effect.ABANDON,)


def end(state: Serving, why: str, now: float, *, crashed: bool, known: bool = False, route: str | None = None) -> Step:
    ready_since = None if isinstance(state, Starting) else state.since
    ledger = state.ledger.crashed(now, why, ready_since, known=known) if crashed else state.ledger
    return Ending(ledger, state.pid, why, crashed, now + GRACE_SECONDS, route), (Effect.TERMINATE,)


def never_answered(state: Starting, _: Tick, now: float) -> Step:
    if state.stalled_at is not None and now >= state.stalled_at:
        if state.fatal is not None:
            return end(state, f"it never answers after this: {state.fatal}", now, crashed=True, known=True)
        why = f"it has not answered, and used no CPU for {STALLED_SECONDS:.0f} s"
        return end(state, why, now, crashed=True)
    if state.spinning_since is not None and state.looped_at is not None and now >= state.looped_at:
        return looped(state, state.spinning_since, now)
    if now < state.answer_by:
        return state, ()
    return end(state, f"it has not answered within {START_SECONDS:.0f} s of its start", now, crashed=True)


def hung(state: Unresponsive, _: Tick, now: float) -> Step:
    if state.spinning_since is not None and state.looped_at is not None and now >= state.looped_at:
        return mended(state, now) if state.changed else looped(state, state.spinning_since, now)
    if now < state.restart_at:
        return state, ()
    return end(state, "it was hung: no sign of life", now, crashed=True)


def looped(state: Starting | Unresponsive, since: float, now: float) -> Step:
    """No crash where the page is known: it is kept away from the next process, which therefore lasts."""
    seconds = now - since + SEEN_SECONDS
    if state.route is None:
        why = f"it was busy for {seconds:.0f} s with something that is no compile, and did not answer"
        return end(state, why, now, crashed=True)
    why = f"{state.route} kept the dev server busy for {seconds:.0f} s, so that it did not answer anything else"
    return end(state, why, now, crashed=False, route=state.route)


def mended(state: Unresponsive, now: float) -> Step:
    """Next reads no change while it spins; the page may be another one now, so nothing is kept away."""
    busy = state.route or "something"
    return end(state, f"files changed while {busy} kept the dev server busy", now, crashed=False)


def died(state: Serving, event: Exited, now: float) -> Step:
    if event.outside:
        return back_off(state.ledger.hindered(event.why), now, event.why, event.chance)
    ready_since = None if isinstance(state, Starting) else state.since
    ledger = state.ledger.crashed(now, event.report, ready_since, known=event.known, error=event.error)
    return after_crash(ledger, now, event.reason, event.chance)


def changed_while_ready(state: Ready, event: FilesChanged, now: float) -> Step:
    if event.meaning == "restart":
        return end(state, event.why, now, crashed=False)
    return replace(state, changed=True), ()


def changed_while_silent(state: Unresponsive, event: FilesChanged, now: float) -> Step:
    if event.meaning == "restart":
        return end(state, event.why, now, crashed=False)
    if state.spinning_since is not None:
        return mended(state, now)
    return replace(state, changed=True), ()


def changed_while_starting(state: Starting, event: FilesChanged, now: float) -> Step:
    """What it has read is out of date, and it will not read it again: it gave up, or waits for what does not come."""
    if event.meaning == "restart":
        return end(state, event.why, now, crashed=False)
    if state.fatal is not None:
        return end(forgiven(state), f"files changed after it had said: {state.fatal}", now, crashed=False)
    if state.spinning_since is not None:
        return end(state, "files changed while its first page kept it busy", now, crashed=False)
    if state.quiet_since is not None and event.meaning != "sources":
        return end(forgiven(state), "its configuration changed while it waited for something", now, crashed=False)
    return state, ()


def forgiven(state: Starting) -> Starting:
    return replace(state, ledger=state.ledger.forgiven())


def gave_up(state: Starting, event: FatalSaid, _: float) -> Step:
    return replace(state, fatal=state.fatal or event.why), ()


def quiet_or_not(state: Starting, event: Silent, now: float) -> Step:
    return replace(
        state,
        quiet_since=None if event.busy else _since(state.quiet_since, now),
        spinning_since=_since(state.spinning_since, now) if event.spinning else None,
        route=event.route or state.route,
    ), ()


def listens(state: Starting, event: Listening, now: float) -> Step:
    """A page may wait for a slow service for as long as it likes: the server itself is there."""
    quiet_since = None if event.busy else _since(state.quiet_since, now)
    if quiet_since is not None and now - quiet_since >= STALLED_SECONDS:
        return became_ready(state, Answered(), now)
    return replace(state, quiet_since=quiet_since, spinning_since=None, fatal=None), ()


def _since(since: float | None, now: float) -> float:
    return now if since is None else since


def restart(state: Serving, event: RestartAsked, now: float) -> Step:
    return end(replace(state, ledger=state.ledger.forgiven()), event.why, now, crashed=False)


def repair(state: Serving, event: RepairAsked, now: float) -> Step:
    return end(state, event.why, now, crashed=False)


def mend(state: Idle, _: RepairAsked, __: float) -> Step:
    return state, (Effect.MEND,)


def stop(state: Serving, _: StopAsked, now: float) -> Step:
    kill_at = now + GRACE_SECONDS
    return Stopping(state.ledger, state.pid, kill_at, kill_at + KILLED_SECONDS), (Effect.TERMINATE,)


def became_ready(state: Starting, _: Answered, now: float) -> Step:
    return Ready(replace(state.ledger, trouble=None, error=None), state.pid, since=now), ()


def still_ready(state: Ready, _: Answered, __: float) -> Step:
    return (replace(state, changed=False) if state.changed else state), ()


def fell_silent(state: Ready, event: Silent, now: float) -> Step:
    silent = Unresponsive(
        state.ledger, state.pid, state.since, now + HUNG_SECONDS, now + BUSY_SECONDS, changed=state.changed
    )
    return be_patient(silent, event, now)


def came_back(state: Unresponsive, _: Answered, __: float) -> Step:
    return Ready(state.ledger, state.pid, state.since), ()


def be_patient(state: Unresponsive, event: Silent, now: float) -> Step:
    spinning_since = _since(state.spinning_since, now) if event.spinning else None
    state = replace(state, spinning_since=spinning_since, route=event.route or state.route)
    if not event.busy or event.spinning:
        return state, ()
    return replace(state, restart_at=min(now + HUNG_SECONDS, state.limit_at)), ()


def ended(state: Ending, event: Exited, now: float) -> Step:
    if state.crashed:
        return after_crash(state.ledger, now, state.why, event.chance)
    return launch(state.ledger, state.why)


def kill_again(state: Ending, _: Tick, now: float) -> Step:
    """Until it is gone, however long: a second process beside it would fight over the port and the cache."""
    if now < state.kill_at:
        return state, ()
    return replace(state, kill_at=now + GRACE_SECONDS), (Effect.KILL,)


def restart_after_all(state: Ending, event: RestartAsked, _: float) -> Step:
    return replace(state, ledger=state.ledger.forgiven(), why=event.why, crashed=False), ()


def stop_instead(state: Ending, _: StopAsked, now: float) -> Step:
    kill_at = min(state.kill_at, now + GRACE_SECONDS)
    return Stopping(state.ledger, state.pid, kill_at, kill_at + KILLED_SECONDS), ()


def try_when_due(state: BackingOff, _: Tick, now: float) -> Step:
    return (state, ()) if now < state.until else launch(state.ledger, state.why)


def try_mended(state: BackingOff, event: FilesChanged, _: float) -> Step:
    if event.meaning == "sources" and not state.ledger.known:  # no compile error ends a server
        return state, ()
    return launch(state.ledger.forgiven(), "its configuration changed")


def try_changed(state: Failed, _: FilesChanged, __: float) -> Step:
    return launch(state.ledger.forgiven(), "files changed")


def try_asked(state: Idle, event: RestartAsked, _: float) -> Step:
    return launch(state.ledger.forgiven(), event.why)


def never_mind(state: Idle, _: StopAsked, __: float) -> Step:
    return Stopped(state.ledger), ()


def spawned_too_late(state: Stopping, event: Spawned, now: float) -> Step:
    kill_at = now + GRACE_SECONDS
    return Stopping(state.ledger, event.pid, kill_at, kill_at + KILLED_SECONDS), (Effect.TERMINATE,)


def gone(state: Stopping, _: Exited, __: float) -> Step:
    return Stopped(state.ledger), ()


def abandoned(state: Stopping, event: LaunchFailed | Checked, _: float) -> Step:
    """The launch is over without a process, unless this is the answer to an older question."""
    found_nothing_missing = isinstance(event, Checked) and event.missing is None
    return (state, ()) if found_nothing_missing or state.pid is not None else (Stopped(state.ledger), ())


def stop_harder(state: Stopping, _: Tick, now: float) -> Step:
    if now >= state.give_up_at:
        return Stopped(state.ledger), (Effect.KILL,)
    if state.kill_at is not None and now >= state.kill_at:
        return replace(state, kill_at=None), (Effect.KILL,)
    return state, ()
