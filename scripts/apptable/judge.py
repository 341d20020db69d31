"""What was seen on both sides, and whether a row passes: judged against the same app run bare. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from scripts.apptable import compare
from scripts.apptable.edits import PACKAGE
from scripts.apptable.rows import Row

Outcome = Literal["runs", "fails", "as bare", "refused", "left out", "not reached"]
"""`as bare`: the first page appears on neither side. `refused`: an app that must not run, and whose reason was said.
`not reached`: the time was over before the row's turn."""
NOT_TRIED: Final = "not tried"


@dataclass(frozen=True, slots=True)
class StepSeen:
    """`seconds` is None where what the step expects was not seen; then `why` says what was."""

    name: str
    seconds: float | None
    why: str = ""


@dataclass(slots=True)
class SideSeen:
    """`first`: seconds from the start to the first page, installation included."""

    first: float | None = None
    install: float | None = None
    why: str = ""
    console: list[str] = field(default_factory=list)
    steps: list[StepSeen] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    evidence: str = ""
    """Where it failed: the page, the problems of /status, the last lines of the log."""


@dataclass(frozen=True, slots=True)
class Judged:
    row: Row
    outcome: Outcome
    ours: SideSeen
    bare: SideSeen | None
    failures: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    """What failed bare as well."""

    @property
    def ratio(self) -> float | None:
        if self.bare is None or not self.bare.first or self.ours.first is None:
            return None
        return self.ours.first / self.bare.first


def judge(row: Row, ours: SideSeen, bare: SideSeen | None, app: Sequence[str]) -> Judged:
    """`app`: paths of the app's files as they are at the end. `bare.steps`: only those that were repeated bare."""
    repeated = {step.name: step for step in bare.steps} if bare else {}
    failures: list[str] = []
    excused: list[str] = []
    if ours.why:
        (excused if bare and bare.why else failures).append(f"start: {ours.why}")
    for step in ours.steps:
        if step.seconds is not None:
            continue
        also = repeated.get(step.name)
        (excused if also is not None and also.seconds is None else failures).append(f"{step.name}: {step.why}")
    if not ours.why:
        failures += _beside(row, ours, bare, app)
    # A row that does not run bare proves nothing about what is here, but it must not go unnoticed either.
    if bare and bare.why and not excused and row.runs:
        excused.append(f"start, bare: {bare.why}")
    shown: Outcome = "as bare" if ours.why else "runs" if row.runs or row.mend else "refused"
    outcome: Outcome = "fails" if failures else shown
    return Judged(row, outcome, ours, bare, tuple(failures), tuple(excused))


def _beside(row: Row, ours: SideSeen, bare: SideSeen | None, app: Sequence[str]) -> list[str]:
    """What is wrong although everything was seen: the console, the workspace, the packages."""
    found = []
    if bare and not bare.why and (news := [line for line in dict.fromkeys(ours.console) if line not in bare.console]):
        found.append(f"console: {compare.shortened(news)}")
    more = compare.left_over(ours.files, [*app, *row.makes], bare.files if bare else ())
    if more and not row.template:
        found.append(f"files of ours: {compare.shortened(more)}")
    if less := compare.missing(ours.files, app):
        found.append(f"missing files: {compare.shortened(less)}")
    added = {PACKAGE[0]} if "package" in row.edits else set()
    if (
        bare
        and not bare.why
        and bare.versions
        and (other := compare.other_versions(ours.versions, bare.versions, added))
    ):
        found.append(f"packages: {compare.shortened(other)}")
    return found


def judge_bare(row: Row, bare: SideSeen) -> Judged:
    """Of a bare run alone, shown in the columns of ours."""
    failures = [f"start: {bare.why}"] if bare.why else []
    failures += [f"{step.name}: {step.why}" for step in bare.steps if step.seconds is None]
    return Judged(row, "fails" if failures else "runs", bare, None, tuple(failures))


def left_out(row: Row, why: str) -> Judged:
    return Judged(row, "left out", SideSeen(why=why), None, (), (why,))


def not_reached(row: Row) -> Judged:
    return Judged(row, "not reached", SideSeen(), None)


def broken(row: Row, why: str) -> Judged:
    """A row that could not be judged, which counts as a failure."""
    return Judged(row, "fails", SideSeen(why=why), None, (why,))


def edits(judged: Judged) -> Mapping[str, str]:
    """One short text for each step that the row has: seconds, "no" or "as bare"."""
    excused = {text.partition(":")[0] for text in judged.excused}
    return {
        step.name: f"{step.seconds:.1f}"
        if step.seconds is not None
        else "as bare"
        if step.name in excused
        else "no"
        if step.why != NOT_TRIED
        else "-"
        for step in judged.ours.steps
    }
