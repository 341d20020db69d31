"""Runs the container engine of this machine: Podman, or Docker if there is no Podman. Both take the same commands.

Configuration for one particular machine comes from the environment: IMAGE_ENGINE (which of the two), NODE_IMAGE
(another base), IMAGE_BUILD_ARGS and IMAGE_RUN_ARGS (shell-quoted arguments for each build and each run), and variables
of the engine itself, such as CONTAINERS_CONF.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "runtime" / "Dockerfile"
IMAGE = "localhost/preview-runtime:dev"

QUICK_SECONDS = 60.0


class Unavailable(Exception):
    """No image can be built or run on this machine; the message says why, and what to do."""


class Failed(Exception):
    """A command of the engine failed."""


@dataclass(frozen=True, slots=True)
class Engine:
    program: str
    host: str
    """The name under which a container that was run with `to_host` reaches this machine."""
    to_host: tuple[str, ...]
    build_words: tuple[str, ...]
    build_arguments: tuple[str, ...] = ()
    run_arguments: tuple[str, ...] = ()
    base: str = ""

    def build_command(self) -> tuple[str, ...]:
        base = ("--build-arg", f"NODE_IMAGE={self.base}") if self.base != default_base() else ()
        words = (self.program, "build", *self.build_words, *base, *self.build_arguments)
        return (*words, "--tag", IMAGE, "--file", str(DOCKERFILE), str(ROOT))

    def command(self, *words: str, within: float = QUICK_SECONDS) -> str:
        """Run a command and return its output. Raise Failed."""
        try:
            done = subprocess.run(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=within,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.program} {shlex.join(words)}: no result within {within:g} s") from None
        if done.returncode:
            raise Failed(f"{self.program} {shlex.join(words)}: {done.stderr.strip() or done.returncode}")
        return done.stdout.strip()

    def save(self) -> subprocess.Popen[bytes]:
        """Start writing the image to a pipe, in the format that both engines support."""
        form = ("--format", "docker-archive") if self.program == "podman" else ()
        return subprocess.Popen([self.program, "save", *form, IMAGE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def has(self, image: str) -> bool:
        return _succeeds(self.program, "image", "inspect", image)

    def require_base(self) -> None:
        if not self.has(self.base):
            raise Unavailable(
                f"the base image {self.base} is not on this machine: {self.program} pull {self.base}\n"
                "(or set NODE_IMAGE to another one: Node.js 22 on Debian 13, slim)"
            )

    def require_image(self) -> None:
        if not self.has(IMAGE):
            raise Unavailable(f"{IMAGE} is not built yet: scripts/image build")


def find(environ: Mapping[str, str]) -> Engine:
    """Return the first engine that works. Raise Unavailable."""
    wanted = environ.get("IMAGE_ENGINE")
    engines = {
        "podman": Engine("podman", "host.containers.internal", (), ("--pull=never", "--format", "docker", "--layers")),
        "docker": Engine(
            "docker", "host.docker.internal", ("--add-host", "host.docker.internal:host-gateway"), ("--progress=plain",)
        ),
    }
    if wanted and wanted not in engines:
        raise Unavailable(f"IMAGE_ENGINE is {wanted!r} (it takes {' or '.join(engines)})")
    why = []
    for name, engine in engines.items():
        if wanted not in {None, "", name}:
            continue
        if shutil.which(name) is None:
            why.append(f"{name} is not on PATH")
        elif not _succeeds(name, "info"):
            why.append(f"`{name} info` fails")
        else:
            return Engine(
                engine.program,
                engine.host,
                engine.to_host,
                engine.build_words,
                tuple(shlex.split(environ.get("IMAGE_BUILD_ARGS", ""))),
                tuple(shlex.split(environ.get("IMAGE_RUN_ARGS", ""))),
                environ.get("NODE_IMAGE") or default_base(),
            )
    raise Unavailable(f"no container engine: {', '.join(why)} (on Debian and Ubuntu: apt-get install podman)")


def default_base() -> str:
    found = re.search(r"^ARG NODE_IMAGE=(\S+)$", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    if found is None:
        raise Failed(f"{DOCKERFILE} has no ARG NODE_IMAGE")
    return found[1]


def _succeeds(*command: str) -> bool:
    try:
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=QUICK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
