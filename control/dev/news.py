"""What the agent knows → what `scripts/dev` says of it, line by line. Pure.

A preview is live, on its way, or blocked by something that only an edit mends. Each change between these is said once,
with the reason first, and so are problems as they come and go, and notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Status = Mapping[str, Any]
"""/status of the agent."""

PROOF_LINES = 8
REASON_LINES = 10


@dataclass(slots=True)
class News:
    """`first`: nobody has seen this preview yet. What was said already is kept here."""

    status_address: str
    first: bool = True
    _blocked: str | None = None
    _live: bool = False
    _was_live: bool = False
    _problems: dict[str, str] = field(default_factory=dict)
    _notes: set[str] = field(default_factory=set)

    def lines(self, now: Status, elapsed: float) -> list[str]:
        """What is new in `now`. `elapsed`: seconds since the start or the visit that it answers."""
        said = [*self._of_notes(now), *self._of_state(now, elapsed)]
        return [*said, *self._of_problems(now)]

    def waits_for(self, now: Status) -> str | None:
        """What the preview is on its way to; None while it is live or blocked."""
        if self._live or self._blocked is not None:
            return None
        install = now["install"]
        if install["state"] == "running":
            progress = f": {install['progress']}" if install["progress"] else ""
            return f"installing the packages with {install['manager']}{progress}"
        return str(now["missing"][0]) if now["missing"] else None

    def _of_state(self, now: Status, elapsed: float) -> list[str]:
        blocked = None if now.get("blocked") is None else _reason(now)
        live = not now["missing"]
        before, self._blocked = self._blocked, blocked
        was, self._live = self._live, live
        if blocked is not None and blocked != before:
            return [
                "",
                *(f"  {line}" for line in blocked.splitlines()),
                "  It goes on by itself when you save a change that mends this.",
                "",
            ]
        if not live or was:
            return []
        if self._was_live:
            return ["  It is live again."] if before is not None else []
        self._was_live = True
        if not self.first:
            return [f"  Somebody came, and it is awake after {elapsed:.1f} s."]
        return [
            f"  It is live after {elapsed:.1f} s and follows every save. Ctrl-C ends it.",
            f"  What goes on: {self.status_address}",
            "",
        ]

    def _of_problems(self, now: Status) -> list[str]:
        """Those that came and those that went. What blocks the preview was said with it."""
        blocked = str(now.get("blocked") or "").partition("\n")[0]
        found = {_of(problem): _first_line(problem["message"]) for problem in now["problems"]}
        came = [key for key, text in found.items() if key not in self._problems and not (blocked and blocked in text)]
        went = [key for key in self._problems if key not in found]
        self._problems = {key: text for key, text in found.items() if key in self._problems or key in came}
        return [*(f"  mended   {key}" for key in went), *(f"  problem  {key}" for key in came)]

    def _of_notes(self, now: Status) -> list[str]:
        found = [note["message"] for note in now.get("notes", []) if note["message"] not in self._notes]
        self._notes |= set(found)
        return [f"  note     {text}" for text in found]


def _reason(now: Status) -> str:
    """Why the preview is blocked, with what mends it and the lines that show it."""
    dev, reason = now["dev_server"], str(now["blocked"])
    error = dev.get("error")
    if error is not None and reason.startswith(error["text"]):
        advice = [error["advice"]] if error["advice"] else []
        return "\n".join(["The app cannot be shown:", reason, *advice, *error["details"][:PROOF_LINES]])
    return "\n".join(["The app cannot be shown:", *reason.splitlines()[:REASON_LINES]])


def _of(problem: Mapping[str, Any]) -> str:
    place = ":".join(str(problem[part]) for part in ("file", "line", "column") if problem.get(part) is not None)
    text = _first_line(problem["message"])
    return text if not place or text.startswith(str(problem.get("file"))) else f"{place}: {text}"


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
