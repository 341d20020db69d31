"""A row of the table: one app, how to run it bare, and what must be seen. Pure.

An own app describes itself in tests/apps/NAME/expect.json, whose keys are the fields of `Row`; a generated app has its
row in `generators.py`. A key that is no field is an error, so that a misspelled expectation cannot pass unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

Edit = Literal["text", "css", "route", "delete", "break", "fix", "package"]
EDITS: Final[tuple[Edit, ...]] = get_args(Edit)
Router = Literal["app", "pages", "public", "none"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the app's files, and what must follow in the open tab without a manual reload."""

    name: str
    files: Mapping[str, str | None] = field(default_factory=dict)
    """New content by path; None deletes."""
    replace: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """(old text, new text) by path, applied to the file as it is at that moment."""
    see: str = ""
    """Text of the page."""
    at: str = ""
    """The path on which `see`, `gone` or `problem` is expected, in a second tab; empty for the open tab."""
    style: str = ""
    """The value of the custom property --previewed on the page's root element."""
    gone: str = ""
    """Text that is no longer at `at`."""
    error: bool = False
    """The tab shows an error, and /status has a problem."""
    problem: str = ""
    """A pattern that a problem in /status must match."""
    visit: str = ""
    """A path that is asked for after the change and before the expectations, without waiting for its answer."""
    within: float = 15.0
    bare: bool = True
    """Whether a failure is excused where the bare app fails the same step."""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    kind: str
    """What is special about this app, in a few words."""
    see: str
    """Text on the first page, and the text that the edits replace in `page`."""
    page: str = ""
    css: str = ""
    router: Router = "none"
    routes: str = ""
    """The folder of routes that the route edit adds one to."""
    base: str = ""
    """The path prefix of all routes, as of basePath."""
    open: str = "/"
    edits: tuple[Edit, ...] = ("text",)
    steps: tuple[Step, ...] = ()
    """Changes that only this app needs, after the edits."""
    first: Mapping[str, str | None] = field(default_factory=dict)
    """What differs from the app's files at the start; the app's own files follow in a first step named "mend"."""
    mend: bool = False
    """Whether the app's own files are put after `first` was seen to fail with `problem`."""
    problem: str = ""
    """A pattern that a problem or a note in /status must match, at the start."""
    runs: bool = True
    """Whether the first page must appear at the start (or, with `mend`, after the app was mended)."""
    manager: str = "npm"
    """NAME@VERSION of the package manager, or plain npm."""
    lock: bool = False
    """Whether the app has the lock file that its manager writes."""
    packages: bool = True
    """Whether the app has packages to install."""
    directory: str = "."
    """The folder that holds the app to run."""
    install: tuple[str, ...] = ()
    """The bare install command, where it is not the manager's own."""
    dev: tuple[str, ...] = ()
    """The bare dev command, where it is not `MANAGER run dev`. {port} is the port."""
    arguments: tuple[str, ...] = ()
    """Further arguments of the bare dev script, for tools that do not read PORT."""
    bare: bool = True
    """Whether the app can be run bare at all."""
    template: bool = False
    """Whether the template's configuration is meant to stand in the workspace (an app without package.json)."""
    insert: str = ""
    """How the page shows the value of an expression, where its file's suffix does not say it: {} is the expression."""
    makes: tuple[str, ...] = ()
    """Files that the app's own tools make beside it: its generators, or Next itself."""
    quick: bool = False
    """Whether the row belongs to the quick third."""
    node: int = 20
    """The oldest major version of Node.js that the app's tools run on."""


def from_json(name: str, said: Mapping[str, Any]) -> Row:
    """The row of an expect.json. Raises ValueError where a key is unknown or an edit does not exist."""
    known = {item.name for item in fields(Row)}
    if unknown := sorted(said.keys() - known):
        raise ValueError(f"{name}: unknown keys: {', '.join(unknown)}")
    values: dict[str, Any] = dict(said)
    edits = EDITS if values.get("edits") == "all" else tuple(values.get("edits", ("text",)))
    if wrong := [edit for edit in edits if edit not in EDITS]:
        raise ValueError(f"{name}: unknown edits: {', '.join(wrong)}")
    for key in ("install", "dev", "arguments", "makes"):
        values[key] = tuple(values.get(key, ()))
    values["steps"] = tuple(_step(name, step) for step in values.get("steps", ()))
    return Row(**{**values, "name": name, "edits": edits})


def _step(name: str, said: Mapping[str, Any]) -> Step:
    known = {item.name for item in fields(Step)}
    if unknown := sorted(said.keys() - known):
        raise ValueError(f"{name}: unknown keys in a step: {', '.join(unknown)}")
    replace = {path: (old, new) for path, (old, new) in said.get("replace", {}).items()}
    return Step(**{**said, "replace": replace})


def problem_matches(pattern: str, problems: list[dict[str, Any]]) -> bool:
    """True if the pattern is found in a problem's source, file or message."""
    return any(
        re.search(pattern, f"{item.get('source')} {item.get('file')} {item.get('message')}", re.IGNORECASE | re.DOTALL)
        for item in problems
    )
