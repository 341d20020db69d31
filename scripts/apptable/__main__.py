"""The command line of scripts/apps: choose rows, run them, print the table, write the JSON.

Exit status: 0 when every row that ran and runs bare runs here, and every other one that ran is refused as it should
be; 1 otherwise. Rows that were not reached are named and do not change it. 130 after Ctrl-C, with the rows that there
were by then.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson

from control.dev.workspace import CACHE, ROOT
from scripts.apptable import making, order, report
from scripts.apptable.judge import not_reached
from scripts.apptable.rows import Row
from scripts.apptable.run import Run, home
from scripts.benches.report import machine

AT_ONCE = 2


def main() -> int:
    given = _parser().parse_args()
    if given.names == ["readme"]:
        return _readme(given.json)
    rows = _chosen(making.rows(), given.names, quick=given.quick)
    if given.minutes is not None:
        rows = order.one_of_each_kind_first(rows)
    if given.list:
        print("\n".join(f"{row.name:<26}{'quick  ' if row.quick else '       '}{row.kind}" for row in rows))
        return 0
    began = time.monotonic()
    status = 0
    with home() as place:
        run = Run(
            place,
            node=_node(),
            mode="ours"
            if given.no_bare or (given.quick and not given.bare_only)
            else "bare"
            if given.bare_only
            else "both",
            at_once=given.at_once,
            seconds=None if given.minutes is None else 60 * given.minutes,
        )
        try:
            asyncio.run(_interruptible(run, rows))
        except (KeyboardInterrupt, asyncio.CancelledError):
            status = 130
    judged = [run.judged.get(row.name) or not_reached(row) for row in rows]
    if failures := report.failures(judged):
        print(f"{failures}\n")
    print(report.as_table(judged))
    took = f"{time.monotonic() - began:.0f} s, {_processor_seconds():.0f} s of processor time"
    print(f"\n{report.summary(judged)}\n{took}; written to {given.json}")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    said = report.as_json(judged, machine(), time.monotonic() - began)
    given.json.write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    return status or int(any(one.outcome == "fails" for one in judged))


def _readme(result: Path) -> int:
    """Renew README's table, or print it where README has no place for it."""
    said = orjson.loads(result.read_bytes())
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    new = report.renewed(text, said)
    if new == text:
        print(report.as_markdown(said))
    else:
        readme.write_text(new, "utf-8")
    return 0


async def _interruptible(run: Run, rows: list[Row]) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run.all(rows)


def _chosen(rows: list[Row], names: list[str], *, quick: bool) -> list[Row]:
    known = {row.name: row for row in rows}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no such app: {', '.join(unknown)} (scripts/apps --list names them)")
    chosen = [known[name] for name in dict.fromkeys(names)] or rows
    return [row for row in chosen if row.quick or not quick]


def _processor_seconds() -> float:
    """Of all programs that were run: on a shared machine it says more about the cost than the time does."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _node() -> int:
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return int(said.stdout.strip().lstrip("v").partition(".")[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/apps",
        description="Runs a table of real apps, each bare and through the agent, and compares what a person sees.",
        epilog="scripts/apps readme renews the table between the measured:apps markers of README, or prints it.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="all of them where none is named")
    parser.add_argument("--quick", action="store_true", help="a few rows, through the agent only: at most 2 minutes")
    sides = parser.add_mutually_exclusive_group()
    sides.add_argument("--no-bare", action="store_true", help="do not run the bare apps: nothing to compare with")
    sides.add_argument("--bare-only", action="store_true", help="run only the bare apps, with all edits")
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="start no row after N minutes: one row of each kind comes first, and the rest is told as not reached",
    )
    parser.add_argument("--list", action="store_true", help="name the rows, and run nothing")
    parser.add_argument(
        "--at-once", type=int, default=AT_ONCE, metavar="N", help="rows that run at the same time (%(default)s)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=CACHE / "apps.json",
        metavar="FILE",
        help="where all of it is written (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
