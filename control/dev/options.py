"""The options of `scripts/dev`, read before anything is set up: `--help` and a mistyped option answer at once.

Run as a program it checks the options and then becomes the setup, which becomes `control.dev` with the same options.

Standard library only, no import of the product, and it has to parse on a Python that is too old for the rest: the setup
is what says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "examples" / "counter"
LAST_PORT = 65535


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="scripts/dev",
        usage="%(prog)s [DIR] [--port N] [--app-dir DIR]",
        description="Preview a folder: every save in it is seen in the browser. Ctrl-C ends it.",
        epilog="The first start installs what it needs inside this repository (about 500 MB). IDLE_TIMEOUT=20s "
        "scripts/dev shows how a preview sleeps and wakes.",
        allow_abbrev=False,
    )
    options.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=SAMPLE,
        metavar="DIR",
        help="a web app, or the part of one that is its own: what it lacks comes from runtime/next-template "
        "(default: examples/counter)",
    )
    options.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help="where the preview is shown (default: 3000, or a free one if it is taken)",
    )
    options.add_argument(
        "--app-dir", metavar="DIR", help="the app's folder inside DIR, where DIR holds several (a monorepo): apps/web"
    )
    return options


def app_dir(folder: Path, named: str | None) -> str | None:
    """What is wrong with --app-dir, or None."""
    if named is None:
        return None
    inside = os.path.normpath(named)
    if Path(named).is_absolute() or inside.startswith(".."):
        return f"--app-dir is {named!r} (it takes a path inside {folder})"
    if not (folder / inside).is_dir():
        return f"--app-dir is {named!r}, and there is no folder {inside} in {folder}"
    return None


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 0 < number <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port (it takes a number from 1 to {LAST_PORT})")
    return number


def main(arguments: list[str]) -> None:
    options = parser()
    chosen = options.parse_args(arguments)
    if not chosen.folder.is_dir():
        options.error(f"there is no folder {chosen.folder}")
    wrong = app_dir(chosen.folder, chosen.app_dir)
    if wrong is not None:
        options.error(wrong)
    wants = ("control", "template", "installers")
    setup = [sys.executable, str(ROOT / "scripts" / "setup.py"), *wants, "--", "-m", "control.dev"]
    os.execv(sys.executable, [*setup, *arguments])  # noqa: S606 - the setup of this repository


if __name__ == "__main__":
    main(sys.argv[1:])
