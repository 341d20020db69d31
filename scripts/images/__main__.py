"""The command line of scripts/image: build, test, sizes; without a command, build and sizes.

Exit status: 0 on success; 1 if the build or a scenario failed or a budget is exceeded; 3 if this machine has no
container engine or no base image, with the reason in one line.
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
    raise SystemExit(143)  # an exception, so that running containers are removed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/image", description="Builds the machine's image, prints its size, and runs it as Fly would."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="without a command: build and sizes")
    commands.add_parser("build", help="build it")
    commands.add_parser("sizes", help="print each layer, both budgets, and the cost of a month")
    test = commands.add_parser(
        "test",
        help="build it, and run it scenario by scenario",
        epilog="\n".join(f"  {name:<12}{scenario.__doc__}" for name, scenario in SCENARIOS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    test.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO", help="default: all of them")
    return parser


if __name__ == "__main__":
    sys.exit(main())
