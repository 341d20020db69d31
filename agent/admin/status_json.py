"""Converts the snapshot to JSON for /status and /events.

The rooms' facts appear field for field, so that a new field in agent/status.py appears here without code. Only the four
values that status.py derives from them (phase, health, missing, blocked) and the idle clock's sentence are added.

Pure. Only that sentence depends on the current time. The caller adds the uptime, because /events compares two results
to find what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from agent.status import IdleFacts, Snapshot, blocked, missing, phase, unhealthy
from agent.text import utf8

Facts = dict[str, Any]
"""One key per part: `sync`, `dev_server`, `problems`, `phase` and so on. All keys are always present."""


def facts(now: Snapshot, versions: Mapping[str, str], wall: float) -> Facts:
    """All parts of the snapshot as JSON values. `versions`: version by program."""
    shown = {name: value for name, value in _json(now).items() if name != "version"}
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
    """The parts of `after` that differ, each complete: `{**before, **changes(before, after)} == after`."""
    return {name: part for name, part in after.items() if name not in before or before[name] != part}


def sentence(now: Snapshot, wall: float) -> str:
    """Why the machine is awake and until when, as a sentence."""
    idle = now.idle
    if now.sleeping:
        return f"going to sleep: {idle.reason}{_ago(idle, wall)}, and nothing since"
    if now.stopping:
        return "stopping"
    if idle.never is not None or idle.sleep_at is None:
        return f"awake: {idle.reason}{_ago(idle, wall)}; it does not sleep by itself ({idle.never})"
    return f"awake: {idle.reason}{_ago(idle, wall)}; sleeps at {_moment(idle.sleep_at):%H:%M:%S} UTC unless used"


def _ago(idle: IdleFacts, wall: float) -> str:
    if idle.last_activity_at is None or idle.kind == "work":  # the time is that of the last activity before the work
        return ""
    seconds = max(0, round(wall - _moment(idle.last_activity_at).timestamp()))
    return f" {seconds} s ago" if seconds < 120 else f" {seconds // 60} min ago"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def encode(value: object) -> bytes:
    """JSON on one line, with a line end."""
    return orjson.dumps(_json(value), option=orjson.OPT_APPEND_NEWLINE)


def _json(value: Any) -> Any:
    """`value` as JSON values, with every text encodable as UTF-8."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {name: _json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if is_dataclass(value):
        return {row.name: _json(getattr(value, row.name)) for row in fields(value)}
    return value
