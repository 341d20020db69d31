"""A framework as data: how its dev server is recognised, started, probed and read. Pure.

Invariant: everything that differs between frameworks is a field here, and code that uses a Framework does not compare
its name. file_rules.py is the exception, for the folders and files that only Next.js has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.devserver.nextjs.hmr_messages import Compile

Exists = Callable[[str], bool]
"""Whether a path relative to the workspace exists."""
ReadMessage = Callable[[str, Compile, Exists, str, str], Compile]
"""(message, compile before it, exists, the workspace's path, the app's folder in it) → compile after it."""


@dataclass(frozen=True, slots=True)
class AppLocation:
    workspace: str
    """Its absolute path."""
    folder: str
    """The app's folder in the workspace; empty for the root."""

    def inside(self, file: str) -> str:
        """The path relative to the workspace, of an absolute path or of one relative to the app's folder."""
        prefix = f"{self.workspace.rstrip('/')}/"
        if file.startswith(prefix):
            return file.removeprefix(prefix)
        below = file.partition("?")[0].lstrip("/")
        return f"{self.folder}/{below}" if self.folder else below

    def without_paths(self, text: str) -> str:
        """`text` with its absolute paths made relative to the workspace."""
        return text.replace(f"{self.workspace.rstrip('/')}/", "")


@dataclass(frozen=True, slots=True)
class OutputState:
    """What a server's output has shown so far."""

    compile: Compile = Compile()  # noqa: RUF009 - frozen
    pending: tuple[str, ...] | None = None
    """The lines of an error that is not complete yet."""


ReadLine = Callable[[str, OutputState, AppLocation], OutputState]


@dataclass(frozen=True, slots=True)
class DroppedFlag:
    """A flag of the app's script that is left out of the command line."""

    names: tuple[str, ...]
    value: Literal["none", "needed", "optional"] = "none"
    """Whether the next word is its value. "optional": if that word is not a flag itself."""
    note: str | None = None
    """Tells the app's owner about it; None for flags that only set the port or the address."""


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """One program in node_modules/.bin that serves an app. `{port}` stands for the port."""

    program: str
    verbs: tuple[str, ...] = ()
    """Its subcommands that serve."""
    bare: bool = False
    """It also serves without a subcommand."""
    dropped: tuple[DroppedFlag, ...] = ()
    added: tuple[str, ...] = ()
    """The arguments that are added to its command line."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables, for a program that reads its port from them."""
    file: str | None = None
    """Its script below node_modules, if node runs that directly, so that signals reach it."""

    @property
    def default(self) -> tuple[str, ...]:
        """Its command line for an app that has no script for it."""
        return (self.program, *self.verbs[:1])


@dataclass(frozen=True, slots=True)
class LivenessProbe:
    """The request that tests whether the server is alive."""

    path: str | None = None
    """None: only test whether it accepts connections."""
    headers: Mapping[str, str] = field(default_factory=dict)
    sign: str | None = None
    """A key of the JSON response that proves that the server knows the path."""


@dataclass(frozen=True, slots=True)
class HmrSocket:
    """The hot-reload WebSocket."""

    paths: tuple[str, ...]
    """Tried in order, each below the app's prefix."""
    read: ReadMessage


@dataclass(frozen=True, slots=True)
class Framework:
    name: str
    """For /status."""
    title: str
    """For people."""
    packages: tuple[str, ...]
    """An app that depends on one of these is made with this framework."""
    tools: tuple[ServerProgram, ...]
    liveness: LivenessProbe
    socket: HmrSocket | None = None
    """Reports compiles, unless `lines` does."""
    lines: ReadLine | None = None
    """Reads compiles from the output."""
    config: tuple[str, ...] = ()
    """Prefixes of the names of its configuration files. It restarts itself when one changes."""
    env: Literal["none", "all but deleted", "all"] = "none"
    """Which changes of .env files the running server picks up by itself."""
    cache: tuple[str, ...] = ()
    """The folder of its compiler's cache, below the app's folder."""
    routes: tuple[str, ...] = ()
    """Folders of which one must exist before a start."""
    base: tuple[str, ...] = ()
    """Names of its setting for the base path."""
    checks_host: bool = False
    """It refuses requests with an unknown Host, so the gateway sends its own."""
    checks_origin: bool = False
    """It compares the Origin of a form with that Host."""
    variables: Mapping[str, str] = field(default_factory=dict)
