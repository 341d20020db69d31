"""What a framework is: the data by which the supervisor starts a dev server, asks it and listens to it. Pure.

Invariant: everything that differs from one framework to the next is a field here. Who uses a Framework never asks for
its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.devserver.nextjs.hmr_messages import Compile

Exists = Callable[[str], bool]
"""Whether a path relative to the workspace is there."""
ReadFrame = Callable[[str, Compile, Exists, str, str], Compile]
"""(frame, compile before it, exists, the workspace's path, the app's folder in it) → compile after it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the app is: the workspace's absolute path, and the app's folder in it."""

    workspace: str
    folder: str

    def inside(self, file: str) -> str:
        """An absolute path, or one relative to the app's folder, as the set has it."""
        prefix = f"{self.workspace.rstrip('/')}/"
        if file.startswith(prefix):
            return file.removeprefix(prefix)
        below = file.partition("?")[0].lstrip("/")
        return f"{self.folder}/{below}" if self.folder else below

    def without_paths(self, text: str) -> str:
        """`text` without the machine's own part of the paths in it."""
        return text.replace(f"{self.workspace.rstrip('/')}/", "")


@dataclass(frozen=True, slots=True)
class Lines:
    """What a server's output said so far. `pending`: the lines of an error whose end was not heard yet."""

    compile: Compile = Compile()  # noqa: RUF009 - frozen
    pending: tuple[str, ...] | None = None


ReadLine = Callable[[str, Lines, Place], Lines]


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag that the app's author wrote and that is left out of the command line.

    `value`: whether the next word belongs to it; `optional`: where that one is no flag itself. `note`: what its owner
    is told; None where the flag says what is true anyway.
    """

    names: tuple[str, ...]
    value: Literal["none", "needed", "optional"] = "none"
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One program in node_modules/.bin that serves an app.

    `verbs`: its subcommands that serve; `bare`: it serves without one too. `dropped` and `added`: what becomes of its
    command line; `{port}` stands for the port. `variables`: what it reads from the environment instead.
    `package` and `file`: where its own program lies below node_modules, when that is to be run without its link in
    .bin, so that signals reach it.
    """

    program: str
    verbs: tuple[str, ...] = ()
    bare: bool = False
    dropped: tuple[Flag, ...] = ()
    added: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    file: str | None = None

    @property
    def default(self) -> tuple[str, ...]:
        """Its command line where the app has no script for it."""
        return (self.program, *self.verbs[:1])


@dataclass(frozen=True, slots=True)
class Liveness:
    """What is asked to learn whether the server is alive. `path` None: whether it takes connections.

    `sign`: a member of the answer's JSON object that proves the path is known. `headers`: sent along.
    """

    path: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    sign: str | None = None


@dataclass(frozen=True, slots=True)
class Socket:
    """The WebSocket of the hot reload. `paths`: tried in order, each below the app's own prefix."""

    paths: tuple[str, ...]
    read: ReadFrame


@dataclass(frozen=True, slots=True)
class Framework:
    """`name`: for /status; `title`: for people. `packages`: one of them among the dependencies means this framework.

    `socket` or `lines`: by what it tells of compiles. `config`: how the names of the files begin that make the server
    restart itself. `env`: which changes of a .env file the running server heeds by itself. `cache`: the folder of its
    compiler's cache, below the app's. `routes`: folders of which one must be there before a start. `base`: the names of
    the setting for the path that the app lies under. `checks_host`: it refuses requests whose Host it does not know, so
    that the gateway sends its own; `checks_origin`: it compares the Origin of a form with that one.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    tools: tuple[Tool, ...]
    liveness: Liveness
    socket: Socket | None = None
    lines: ReadLine | None = None
    config: tuple[str, ...] = ()
    env: Literal["none", "all but deleted", "all"] = "none"
    cache: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    checks_host: bool = False
    checks_origin: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
