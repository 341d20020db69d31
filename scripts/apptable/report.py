"""How the result is told: a table for people, JSON for programs, and Markdown for README. Pure but for the machine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from scripts.apptable.judge import Judged, edits

HEAD: Final = ("app", "kind", "outcome", "first page", "bare", "ratio", "followed")
GOAL: Final = 1.1
"""First page within so many times the bare one."""

_MARKED: Final = re.compile(r"(<!-- measured:apps -->)\n.*?(<!-- /measured:apps -->)", re.DOTALL)


def as_table(judged: Sequence[Judged]) -> str:
    cells = [HEAD, *(_cells(one) for one in judged)]
    widths = [min(46, max(len(row[column]) for row in cells)) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            text[:46].ljust(width) if column != 6 else text
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def _cells(one: Judged) -> tuple[str, ...]:
    bare = one.bare.first if one.bare else None
    followed = ", ".join(f"{name} {value}" for name, value in edits(one).items())
    return (
        one.row.name,
        one.row.kind,
        one.outcome,
        _seconds(one.ours.first),
        _seconds(bare),
        "" if one.ratio is None else f"{one.ratio:.2f}",
        followed,
    )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def summary(judged: Sequence[Judged]) -> str:
    """How many of the rows that run bare run here, and how the first pages compare."""
    comparable = [one for one in judged if one.bare is not None and not one.bare.why]
    run = [one for one in comparable if one.outcome != "fails"]
    ratios = sorted(one.ratio for one in run if one.ratio is not None)
    fast = sum(ratio <= GOAL for ratio in ratios)
    counted = Counter(one.outcome for one in judged)
    told = ", ".join(f"{number} {outcome}" for outcome, number in counted.items())
    text = f"{len(run)} of {len(comparable)} apps that run bare run here" if comparable else f"not run bare: {told}"
    failed = [one.row.name for one in judged if one.outcome == "fails"]
    if ratios:
        text += (
            f"; first page within {GOAL:g} times bare: {fast} of {len(ratios)}, median {ratios[len(ratios) // 2]:.2f}"
        )
    later = [one.row.name for one in judged if one.outcome == "not reached"]
    text += f"\nfailed: {', '.join(failed)}" if failed else ""
    return text + (f"\nnot reached: {', '.join(later)}" if later else "")


def failures(judged: Sequence[Judged]) -> str:
    """What was expected and what was seen, for each row that fails."""
    parts = []
    for one in judged:
        if one.outcome == "fails":
            lines = [f"== {one.row.name} ({one.row.kind})", *(f"- {text}" for text in one.failures)]
            lines += [f"- as bare: {text}" for text in one.excused]
            parts.append("\n".join([*lines, one.ours.evidence]).rstrip())
    return "\n\n".join(parts)


def as_json(judged: Sequence[Judged], machine: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "machine": dict(machine),
        "seconds": round(seconds, 1),
        "summary": summary(judged),
        "rows": [_json(one) for one in judged],
    }


def _json(one: Judged) -> dict[str, Any]:
    return {
        "name": one.row.name,
        "kind": one.row.kind,
        "outcome": one.outcome,
        "ratio": None if one.ratio is None else round(one.ratio, 3),
        "failures": list(one.failures),
        "excused": list(one.excused),
        "edits": dict(edits(one)),
        "ours": _side(asdict(one.ours)),
        "bare": None if one.bare is None else _side(asdict(one.bare)),
    }


def _side(side: dict[str, Any]) -> dict[str, Any]:
    return {key: side[key] for key in ("first", "install", "why", "console", "steps", "evidence")}


def as_markdown(said: Mapping[str, Any]) -> str:
    """The JSON's rows as a Markdown table. A row that does not run is in it with its reason; those that were not
    reached are named below it.
    """
    lines = ["| App | Kind | Here | First page, bare | Followed |", "|---|---|---|---|---|"]
    later = [f"`{row['name']}`" for row in said["rows"] if row["outcome"] == "not reached"]
    for row in said["rows"]:
        if row["outcome"] == "not reached":
            continue
        first = [
            "not run" if row[side] is None else _seconds(row[side]["first"]) or "none" for side in ("ours", "bare")
        ]
        reasons = "; ".join(reason.splitlines()[0][:160] for reason in [*row["failures"], *row["excused"]])
        followed = ", ".join(f"{name} {value}" for name, value in row["edits"].items())
        outcome = row["outcome"] + (f": {reasons}" if reasons else "")
        cells = (f"`{row['name']}`", row["kind"], outcome, ", ".join(first), followed or "none")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    below = ["", f"Not run: {', '.join(later)}."] if later else []
    return "\n".join([said["summary"].splitlines()[0] + ".", "", *lines, *below])


def renewed(document: str, said: Mapping[str, Any]) -> str:
    """`document` with the newest table between its markers; unchanged where it has none."""
    table = as_markdown(said)
    return _MARKED.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", document)
