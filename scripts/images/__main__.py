"""The command line of scripts/image: build, test, sizes; alone, build and sizes.

Exit status: 0 when all of it went well; 1 when a build failed, a scenario did not end as it should, or a budget is not
kept; 3 when this machine has no container engine or no base image, with the reason in one line.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from scripts.images import cost, engine, sizes
from scripts.images.build import build
from scripts.images.scenarios import SCENARIOS, run


def main() -> int:
    given = _parser().parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        found = engine.find(os.environ)
        if given.command in {None, "build", "test"}:
            build(found)
        if given.command == "test":
            return run(found, given.scenarios or list(SCENARIOS))
        return weigh(found) if given.command in {None, "sizes"} else 0
    except engine.Unavailable as why:
        print(why, file=sys.stderr)
        return 3
    except engine.Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def weigh(found: engine.Engine) -> int:
    layers, on_disk = sizes.measure(found)
    print(sizes.as_table(layers, on_disk))
    print()
    print(cost.as_table(on_disk))
    missed = sizes.over(layers, on_disk)
    for line in missed:
        print(line, file=sys.stderr)
    return int(bool(missed))


def _terminated(_: int, __: object) -> None:
    raise SystemExit(143)  # so that what is being run is ended in order


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/image", description="The machine's image: builds it, weighs it, and runs it as Fly would."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="alone it builds and weighs")
    commands.add_parser("build", help="build it")
    commands.add_parser("sizes", help="each layer, both budgets, and what a month costs")
    test = commands.add_parser(
        "test",
        help="build it, and tell it scenarios",
        epilog="\n".join(f"  {name:<12}{scenario.__doc__}" for name, scenario in SCENARIOS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    test.add_argument(
        "scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO", help="all where none is named"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
