"""Installs the dependencies of the scripts inside this repository, if they are missing or outdated.

    setup.py WANT... [-- ARGUMENT...]     then replaces itself by .venv's Python with the arguments

WANT is `control` (runs the product), `dev` (the same, and the tools of the tests), `template` (the template's npm
packages), `installers` (the package managers besides npm) or `chromium`. Everything is installed in .venv/ and
.preview/, which git ignores; only Chromium is installed in the system. If nothing is missing, this takes 0.1 s.

It uses the standard library only, and has to run on a Python that is too old for the rest, because it reports that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".preview"
TEMPLATE = ROOT / "runtime" / "next-template"
INSTALLERS = ROOT / "runtime" / "installers"
PROGRAMS = {
    "pnpm": "pnpm/bin/pnpm.cjs",
    "yarn": "yarn/bin/yarn.js",
    "yarn-berry": "@yarnpkg/cli-dist/bin/yarn.js",
    "bun": "@oven/bun-*/bin/bun",
}
"""Name on PATH → file in node_modules, as runtime/Dockerfile links them."""
LOG = CACHE / "setup.log"

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = (20, 9)
PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


class Missing(Exception):
    """Something is missing that only the machine's owner can install. The message says what, and how."""


def main(wants: list[str]) -> int:
    if sys.version_info < OLDEST_PYTHON:
        return _again_with_a_newer_python(wants)
    steps = {
        "control": lambda: python_packages("control", also_in=("dev",)),
        "dev": lambda: python_packages("dev"),
        "template": template_packages,
        "installers": installers,
        "chromium": chromium,
    }
    wants, then = _split(wants)
    CACHE.mkdir(exist_ok=True)
    try:
        # Two terminals may start at the same time; the second waits here, and then nothing is left to do.
        with (CACHE / "setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for want in wants:
                steps[want]()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    if then:
        # exec instead of a child process, so that signals reach the program itself.
        python = str(VENV / "bin" / "python")
        os.execve(python, [python, *then], {**os.environ, "PYTHONPATH": str(ROOT)})
    return 0


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def _again_with_a_newer_python(wants: list[str]) -> int:
    probe = "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST_PYTHON  # noqa: UP031 - has to work on old Pythons
    for name in PYTHONS:
        # A name on PATH is not enough: version managers install stubs that only print what is not installed.
        path = shutil.which(name)
        if path and subprocess.call([path, "-c", probe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, __file__, *wants])
    print(
        "Python 3.11 or newer is needed, and python3 here is {}.{}.\n".format(*sys.version_info[:2])
        + "  Debian, Ubuntu:  apt-get install python3 python3-venv   (or python3.11 python3.11-venv)\n"
        + "  elsewhere:       https://www.python.org/downloads",
        file=sys.stderr,
    )
    return 1


def python_packages(name: str, also_in: tuple[str, ...] = ()) -> None:
    """Install requirements/NAME.txt into .venv. A file in `also_in` pins the same packages and more."""
    if not _venv_works():
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            run("creating the Python environment", sys.executable, "-m", "venv", str(VENV))
        except Missing as missing:
            shutil.rmtree(VENV, ignore_errors=True)
            raise Missing(f"{missing}\nOn Debian and Ubuntu this may help: apt-get install python3-venv") from None
    if any(_stamp(other).is_file() and _stamp(other).read_text() == _wanted(other) for other in (name, *also_in)):
        return
    pip = (str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input")
    requirements = str(ROOT / "requirements" / f"{name}.txt")
    run("installing Python packages", *pip, "install", "--require-hashes", "-r", requirements)
    _stamp(name).write_text(_wanted(name))


def _venv_works() -> bool:
    python = VENV / "bin" / "python"
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    return python.exists() and subprocess.call([python, "-c", probe], stderr=subprocess.DEVNULL) == 0


def _stamp(name: str) -> Path:
    return VENV / f".installed-{name}"


def _wanted(name: str) -> str:
    return hashlib.sha256((ROOT / "requirements" / f"{name}.txt").read_bytes()).hexdigest()


def template_packages() -> None:
    """Install the template's lock file into .preview/modules/<hash>/node_modules, once per lock file."""
    _check_node()
    lock = TEMPLATE / "package-lock.json"
    place = CACHE / "modules" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if (place / "node_modules").is_dir():
        return
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(TEMPLATE / name, partial)
    run("installing the template's npm packages (about 390 MB)", "npm", "ci", "--no-audit", "--no-fund", cwd=partial)
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)


def installers() -> None:
    """Install the image's package managers into .preview/installers/<hash of the lock file>/bin."""
    _check_node()
    place = installers_place()
    if (place / "bin").is_dir():
        return
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(INSTALLERS / name, partial)
    npm = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    run("installing pnpm, yarn and bun (about 130 MB)", *npm, cwd=partial)
    (partial / "bin").mkdir()
    for name, path in PROGRAMS.items():
        # bun has one package per platform, and a second one for processors without AVX2.
        found = sorted((partial / "node_modules").glob(path))
        if found:
            (partial / "bin" / name).symlink_to(Path("..") / found[0].relative_to(partial))
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)


def installers_place() -> Path:
    """Return the folder of `installers` for the current lock file."""
    lock = INSTALLERS / "package-lock.json"
    return CACHE / "installers" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]


def _check_node() -> None:
    how = (
        "  Debian, Ubuntu:  apt-get install nodejs npm   (where they are new enough)\n"
        "  elsewhere:       https://nodejs.org/en/download"
    )
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Missing(f"{tool} is not on PATH; Node.js 20.9 or newer is needed, with npm.\n{how}")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    numbers = tuple(int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit())
    if numbers < OLDEST_NODE:
        raise Missing(f"Node.js 20.9 or newer is needed, and node here is {version or 'of an unknown version'}.\n{how}")


def chromium() -> None:
    if any(shutil.which(name) for name in CHROMIUMS):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(
            "The browser tests need Chromium, and there is none on PATH.\n"
            "  Debian, Ubuntu:  sudo apt-get install chromium\n"
            "  elsewhere:       install Chromium or Google Chrome so that `chromium` or `google-chrome` is on PATH"
        )
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("reading the package lists", "apt-get", "update", env=quiet)
    run("installing Chromium", "apt-get", "install", "-y", "--no-install-recommends", "chromium", env=quiet)


def run(what: str, *command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run `command` and show the elapsed time. Its output goes to the log; if it fails, the last lines are shown."""
    begun = time.monotonic()
    # In a session of its own, so that Ctrl-C reaches only this process, which then ends the whole group.
    with LOG.open("ab+") as log:
        start = log.seek(0, os.SEEK_END)
        child = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            status = _wait(what, child, begun)
        except BaseException:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            raise
        if status:
            log.seek(start)
            end = log.read().decode("utf-8", "replace").splitlines()[-20:]
            raise Missing("\n".join([f"{what} failed: {' '.join(command)}", *end, f"(the whole output is in {LOG})"]))


def _wait(what: str, child: subprocess.Popen[bytes], begun: float) -> int:
    live = sys.stderr.isatty()
    if not live:
        print(f"{what} …", file=sys.stderr, flush=True)
    printed_at = begun
    while True:
        try:
            status = child.wait(0.2)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            if live:
                print(f"\r\033[K{what} … {now - begun:.0f} s", end="", file=sys.stderr, flush=True)
            elif now - printed_at >= 15:
                printed_at = now
                print(f"  still {what}: {now - begun:.0f} s", file=sys.stderr, flush=True)
            continue
        took = f"{what}: {'failed after ' if status else ''}{time.monotonic() - begun:.0f} s"
        print(f"\r\033[K{took}" if live else f"  {took}", file=sys.stderr, flush=True)
        return status


def _terminated(_: int, __: object) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(130)
