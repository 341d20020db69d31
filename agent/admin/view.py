"""The snapshot as JSON: what /status shows, and what /events says when it changes.

The rooms' facts are shown as they are, field for field, so that a new fact in agent/status.py is seen here without
a line of code. Added are only the three conclusions that status.py draws from them: phase, health, missing.

Pure: a snapshot goes in, plain values come out. What depends on the moment of asking (the uptime) is left to the
caller, because /events compares two of these values to find out what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from agent.status import Snapshot, missing, phase, unhealthy

Facts = dict[str, Any]
"""One key a part: `sync`, `dev_server`, `problems`, `phase` and so on. The keys are always the same ones."""


def facts(now: Snapshot, versions: Mapping[str, str]) -> Facts:
    """Every part of the snapshot, as JSON has it. `versions`: what runs here, by name."""
    shown = {name: value for name, value in _plain(now).items() if name != "version"}
    reason = unhealthy(now)
    return {
        "phase": phase(now),
        "health": {"ok": reason is None, "reason": reason},
        "missing": list(missing(now)),
        **shown,
        "versions": {"agent": now.version, **versions},
    }


def changes(before: Facts, after: Facts) -> Facts:
    """The parts of `after` that differ, each of them whole: `{**before, **changes(before, after)} == after`."""
    return {name: part for name, part in after.items() if name not in before or before[name] != part}


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
