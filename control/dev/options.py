"""Parses the options of `scripts/dev` before the setup runs, so that `--help` and wrong options are answered at once.

As a program, it checks the options and then replaces itself by the setup, which starts `control.dev` with the same
options.

It uses the standard library only and imports nothing of the product. It has to run on a Python that is too old for the
rest, because the setup is what reports that.
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
        description="Preview a folder: the browser shows every save in it. Ctrl-C ends it.",
        epilog="The first start installs its dependencies inside this repository (about 500 MB). IDLE_TIMEOUT=20s "
        "scripts/dev shows how a preview sleeps and wakes.",
        allow_abbrev=False,
    )
    options.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=SAMPLE,
        metavar="DIR",
        help="a web app, or some pages of one: runtime/next-template provides the files that it lacks "
        "(default: examples/counter)",
    )
    options.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help="port of the preview (default: 3000, or a free one if 3000 is taken)",
    )
    options.add_argument(
        "--app-dir",
        metavar="DIR",
        help="the app's folder inside DIR if DIR contains several apps, such as apps/web",
    )
    return options


def app_dir(folder: Path, named: str | None) -> str | None:
    """Return the error of --app-dir, or None."""
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
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (it takes a number from 1 to {LAST_PORT})")
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
