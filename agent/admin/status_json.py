"""The snapshot as JSON: what /status shows, and what /events says when it changes.

The rooms' facts are shown as they are, field for field, so that a new fact in agent/status.py is seen here without
a line of code. Added are only the four conclusions that status.py draws from them (phase, health, missing, blocked),
and what the idle clock says as a sentence.

Pure: a snapshot and the wall's time go in, plain values come out. Of what depends on the moment of asking only that
sentence is in it; the uptime is left to the caller, because /events compares two of these values to find out what
changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from agent.status import IdleFacts, Snapshot, blocked, missing, phase, unhealthy

Facts = dict[str, Any]
"""One key a part: `sync`, `dev_server`, `problems`, `phase` and so on. The keys are always the same ones."""


def facts(now: Snapshot, versions: Mapping[str, str], wall: float) -> Facts:
    """Every part of the snapshot, as JSON has it. `versions`: what runs here, by name."""
    shown = {name: value for name, value in _plain(now).items() if name != "version"}
    shown["idle"]["sentence"] = sentence(now, wall)
    reason = unhealthy(now)
    return {
        "phase": phase(now),
        "health": {"ok": reason is None, "reason": reason},
        "missing": list(missing(now)),
        "blocked": blocked(now),
        **shown,
        "versions": {"agent": now.version, **versions},
    }


def changes(before: Facts, after: Facts) -> Facts:
    """The parts of `after` that differ, each of them whole: `{**before, **changes(before, after)} == after`."""
    return {name: part for name, part in after.items() if name not in before or before[name] != part}


def sentence(now: Snapshot, wall: float) -> str:
    """Why the machine is awake and until when, for a person."""
    idle = now.idle
    if now.sleeping:
        return f"going to sleep: {idle.reason}{_ago(idle, wall)}, and nothing since"
    if now.stopping:
        return "stopping"
    if idle.never is not None or idle.sleep_at is None:
        return f"awake: {idle.reason}{_ago(idle, wall)}; it does not sleep by itself ({idle.never})"
    # To the second, because a machine that is about to sleep is when somebody reads this.
    return f"awake: {idle.reason}{_ago(idle, wall)}; sleeps at {_moment(idle.sleep_at):%H:%M:%S} UTC unless used"


def _ago(idle: IdleFacts, wall: float) -> str:
    if idle.last_activity_at is None or idle.kind == "work":  # whose time that is not
        return ""
    seconds = max(0, round(wall - _moment(idle.last_activity_at).timestamp()))
    return f" {seconds} s ago" if seconds < 120 else f" {seconds // 60} min ago"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def encode(value: object) -> bytes:
    """One line of JSON with its line end."""
    return orjson.dumps(_plain(value), option=orjson.OPT_APPEND_NEWLINE)


def _plain(value: Any) -> Any:
    """As JSON has it. A header or a file name that was not UTF-8 reaches us with lone surrogates, which JSON cannot
    carry: each is shown as an escape, because one odd byte must not take /status away.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {row.name: _plain(getattr(value, row.name)) for row in fields(value)}
    return value
