"""Turns changes of the agent's status into the lines that `scripts/dev` prints. Pure.

A preview is live, starting, or blocked until somebody edits a file. Each change between these is printed once, with the
reason first. So are problems, when they appear and when they are solved, and notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Status = Mapping[str, Any]
"""The agent's /status."""

PROOF_LINES = 8
REASON_LINES = 10


@dataclass(slots=True)
class News:
    """Remembers what was printed already."""

    status_address: str
    first: bool = True
    """The agent was not asleep before."""
    _blocked: str | None = None
    _live: bool = False
    _was_live: bool = False
    _problems: dict[str, str] = field(default_factory=dict)
    _notes: set[str] = field(default_factory=set)

    def lines(self, now: Status, elapsed: float) -> list[str]:
        """Return the lines for what is new in `now`. `elapsed`: seconds since the start or since the visit."""
        lines = [*self._notes_lines(now), *self._state_lines(now, elapsed)]
        return [*lines, *self._problem_lines(now)]

    def waits_for(self, now: Status) -> str | None:
        """Return what the start waits for, or None while the preview is live or blocked."""
        if self._live or self._blocked is not None:
            return None
        install = now["install"]
        if install["state"] == "running":
            progress = f": {install['progress']}" if install["progress"] else ""
            return f"installing the packages with {install['manager']}{progress}"
        return str(now["missing"][0]) if now["missing"] else None

    def _state_lines(self, now: Status, elapsed: float) -> list[str]:
        blocked = None if now.get("blocked") is None else _reason(now)
        live = not now["missing"]
        before, self._blocked = self._blocked, blocked
        was, self._live = self._live, live
        if blocked is not None and blocked != before:
            return [
                "",
                *(f"  {line}" for line in blocked.splitlines()),
                "  Save a change that fixes this, and the preview continues by itself.",
                "",
            ]
        if not live or was:
            return []
        if self._was_live:
            return ["  Live again."] if before is not None else []
        self._was_live = True
        if not self.first:
            return [f"  A visit woke the preview; it is live after {elapsed:.1f} s."]
        return [
            f"  Live after {elapsed:.1f} s. Every save is shown. Ctrl-C ends it.",
            f"  Status: {self.status_address}",
            "",
        ]

    def _problem_lines(self, now: Status) -> list[str]:
        """Return the lines for new and solved problems. The problem that blocks the preview is already printed."""
        blocked = str(now.get("blocked") or "").partition("\n")[0]
        found = {_summary(problem): _first_line(problem["message"]) for problem in now["problems"]}
        new = [key for key, text in found.items() if key not in self._problems and not (blocked and blocked in text)]
        solved = [key for key in self._problems if key not in found]
        self._problems = {key: text for key, text in found.items() if key in self._problems or key in new}
        return [*(f"  solved   {key}" for key in solved), *(f"  problem  {key}" for key in new)]

    def _notes_lines(self, now: Status) -> list[str]:
        found = [note["message"] for note in now.get("notes", []) if note["message"] not in self._notes]
        self._notes |= set(found)
        return [f"  note     {text}" for text in found]


def _reason(now: Status) -> str:
    """Return why the preview is blocked, with the advice and the lines of the error."""
    dev, reason = now["dev_server"], str(now["blocked"])
    error = dev.get("error")
    if error is not None and reason.startswith(error["text"]):
        advice = [error["advice"]] if error["advice"] else []
        return "\n".join(["The app cannot be shown:", reason, *advice, *error["details"][:PROOF_LINES]])
    return "\n".join(["The app cannot be shown:", *reason.splitlines()[:REASON_LINES]])


def _summary(problem: Mapping[str, Any]) -> str:
    place = ":".join(str(problem[part]) for part in ("file", "line", "column") if problem.get(part) is not None)
    text = _first_line(problem["message"])
    return text if not place or text.startswith(str(problem.get("file"))) else f"{place}: {text}"


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
