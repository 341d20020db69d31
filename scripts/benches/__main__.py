"""The command line of scripts/bench: runs families of rows one after the other, prints a table, writes JSON.

Exit status: 0 if everything was measured, whether budgets were met or missed; 1 if something could not be measured; 130
after Ctrl-C, with the rows until then.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from scripts.benches import change, gateway, idle, start, stop, sync, visible, waiting
from scripts.benches.place import Bench, open_bench
from scripts.benches.report import as_table, load, write_json
from scripts.benches.rows import Row, left_out

FAMILIES: Mapping[str, tuple[Callable[[Bench], Awaitable[list[Row]]], str]] = {
    "change": (change.measure, "a change at the backend -> its bytes on disk"),
    "visible": (visible.measure, "a change at the backend -> its text in Chromium"),
    "sync": (sync.measure, "the first sync of 5,000 files"),
    "start": (start.measure, "exec -> the waking page, and the first page"),
    "idle": (idle.measure, "the cost of an idle agent"),
    "gateway": (gateway.measure, "what the gateway adds to an answer"),
    "control": (waiting.measure, "the reference backend with many held requests"),
    "stop": (stop.measure, "SIGTERM -> no process left"),
}


class Run:
    """The results so far. `loads`: family → load average before and after it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rows: list[Row] = []
        self.loads: dict[str, list[float]] = {}
        self.failed = False

    async def all(self, names: list[str]) -> None:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        for name in names:
            await self._one(name)

    async def _one(self, name: str) -> None:
        measure, what = FAMILIES[name]
        before = load()
        self.bench.say(f"{name}: {what} (load {before})")
        try:
            self.rows += await measure(self.bench)
        except Exception as error:  # noqa: BLE001 - the other families are still measured
            traceback.print_exc()
            self.failed = True
            self.rows.append(left_out(name, what, "", f"could not be measured: {str(error) or type(error).__name__}"))
        self.loads[name] = [before, load()]


def main() -> int:
    given = _parser().parse_args()
    status = 0
    with open_bench(quick=given.quick) as bench:
        run = Run(bench)
        try:
            asyncio.run(run.all(list(dict.fromkeys(given.rows)) or list(FAMILIES)))
        except (KeyboardInterrupt, asyncio.CancelledError):
            status = 130
    if run.rows:
        print(as_table(run.rows))
        write_json(given.json, run.rows, run.loads, quick=given.quick)
        print(f"\nload average by family, before and after: {run.loads}\nwritten to {given.json}")
    return status or int(run.failed)


def _family(name: str) -> str:
    if name not in FAMILIES:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(FAMILIES)}")
    return name


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {name:<9}{what}" for name, (_, what) in FAMILIES.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures the budgets on this machine, each row beside what it is compared with.",
        epilog=f"rows:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", type=_family, metavar="ROW", help="default: all of them")
    parser.add_argument("--quick", action="store_true", help="few samples, to see that the benches work")
    parser.add_argument(
        "--json",
        type=Path,
        default=Path("bench.json"),
        metavar="FILE",
        help="file for the result (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
