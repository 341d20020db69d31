"""Which install scripts read files of the app, and which files: after a change of one the script is due again. Pure.

A script of a package knows the app's folder only through INIT_CWD (PROJECT_CWD under yarn), so a script without that
word reads nothing of the app. What it reads is found by name: a file of the app whose name stands in the script's text,
or that a known generator is known to read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

OWN: Final = ""
"""The name of the app's own scripts among those of packages."""

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
"""A word in a script → the files of the app that such a generator reads."""


@dataclass(frozen=True, slots=True)
class Generator:
    """Scripts that read files of the app. `folder`: where they run, relative to the workspace. `text`: all that is
    known of what they do.
    """

    name: str
    folder: str
    scripts: tuple[tuple[str, str], ...]
    text: str

    def reads(self, path: str) -> bool:
        """Whether the scripts read this file of the app, as far as their text tells."""
        if any(word.search(self.text) and files.fullmatch(path) for word, files in _KNOWN):
            return True
        name = path.rpartition("/")[2]
        if name in _NEVER or not _stands_in(self.text, name):
            return False
        # Names of sources are too common: index.js stands in every script. A whole path is meant.
        return not name.endswith(_SOURCES) or (self.name == OWN and _stands_in(self.text, path))


def reads_the_app(text: str) -> bool:
    """Whether the script of a package can know where the app is."""
    return _APP_FOLDER.search(text) is not None


def digest(generator: Generator, inputs: Mapping[str, bytes]) -> str:
    """Stands for the scripts and for the bytes of all that they read."""
    parts = [repr((generator.scripts, hashlib.sha256(generator.text.encode("utf-8", "replace")).hexdigest()))]
    parts += [f"{path} {hashlib.sha256(data).hexdigest()}" for path, data in sorted(inputs.items())]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def inputs_of(generator: Generator, managed: AbstractSet[str]) -> list[str]:
    """The files of the app that the scripts read."""
    return sorted(path for path in managed if generator.reads(path))


def files_named(commands: Iterable[str], managed: AbstractSet[str]) -> list[str]:
    """The app's own files that commands name: `node scripts/generate.mjs` → scripts/generate.mjs."""
    words = {word.removeprefix("./") for command in commands for word in re.split(r"[\s'\";&|()=]+", command)}
    return sorted(words & managed)


def _stands_in(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None
