"""Finds the install scripts that read files of the app, so that they run again when one of these files changes. Pure.

A script of a package can find the app's folder only through INIT_CWD (PROJECT_CWD under yarn), so one that does not
mention them reads nothing of the app. Its inputs are found by name: files of the app whose name appears in the script's
text, or that a known generator reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

APP_SCRIPTS: Final = ""
"""The generator name of the app's own scripts."""

_APP_FOLDER: Final = re.compile(r"\b(?:INIT_CWD|PROJECT_CWD)\b")
_SOURCES: Final = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".css", ".map")
_NEVER: Final = frozenset({"package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"})
_KNOWN: Final[tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]] = (
    (re.compile(r"\bprisma\b"), re.compile(r".*\.prisma|prisma\.config\.[cm]?[jt]s")),
    (re.compile(r"\bcontentlayer2?\b"), re.compile(r"contentlayer\.config\.[cm]?[jt]s")),
    (re.compile(r"\bvelite\b"), re.compile(r"velite\.config\.[cm]?[jt]s")),
    (re.compile(r"\bfumadocs-mdx\b"), re.compile(r"source\.config\.[cm]?[jt]s")),
    (re.compile(r"\bpatch-package\b"), re.compile(r"patches/.*\.patch")),
    (re.compile(r"\b(?:graphql-codegen|graphql-code-generator)\b"), re.compile(r"codegen\.(?:ya?ml|[cm]?[jt]s)")),
)
"""A word in a script → the files of the app that this generator reads."""


@dataclass(frozen=True, slots=True)
class Generator:
    """The install scripts of one package, or of the app, that read files of the app."""

    name: str
    """The package's name, or APP_SCRIPTS."""
    folder: str
    """Where the scripts run, relative to the workspace."""
    scripts: tuple[tuple[str, str], ...]
    """Event and command of each, in their order."""
    text: str
    """The commands and the content of the files that they run, as far as known."""

    def reads(self, path: str) -> bool:
        """Whether the scripts read this file of the app, according to their text."""
        if any(word.search(self.text) and files.fullmatch(path) for word, files in _KNOWN):
            return True
        name = path.rpartition("/")[2]
        if name in _NEVER or not _stands_in(self.text, name):
            return False
        # File names of sources are too common: every script mentions some index.js. Only a whole path counts.
        return not name.endswith(_SOURCES) or (self.name == APP_SCRIPTS and _stands_in(self.text, path))


def can_find_app(text: str) -> bool:
    """Whether a package's script with this text can find the app's folder."""
    return _APP_FOLDER.search(text) is not None


def input_digest(generator: Generator, inputs: Mapping[str, bytes]) -> str:
    """A digest of the scripts and of the content of all files that they read."""
    parts = [repr((generator.scripts, hashlib.sha256(generator.text.encode("utf-8", "replace")).hexdigest()))]
    parts += [f"{path} {hashlib.sha256(data).hexdigest()}" for path, data in sorted(inputs.items())]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def inputs_of(generator: Generator, managed: AbstractSet[str]) -> list[str]:
    """The files of the app that the scripts read."""
    return sorted(path for path in managed if generator.reads(path))


def files_named(commands: Iterable[str], managed: AbstractSet[str]) -> list[str]:
    """The app's own files that the commands name: scripts/generate.mjs in `node scripts/generate.mjs`."""
    words = {word.removeprefix("./") for command in commands for word in re.split(r"[\s'\";&|()=]+", command)}
    return sorted(words & managed)


def _stands_in(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None
