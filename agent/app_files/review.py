"""Finds broken files of the app, and writes notes for its author. Pure.

If tsconfig.json cannot be parsed, Next ends in an unhandled rejection and never serves a page; if two files exist of
which it accepts one, it does the same. Both can be seen in the files within a second of their arrival. A note is not an
error: it explains what an author may wonder about.

What must not live here: reading files (reader.py), and the package.json of the root, which the installer checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import orjson

from agent.json_errors import describe
from agent.status import FileFacts, Note, Problem, Source

JSON_NAMES: Final[Mapping[str, Source]] = {
    "package.json": "install",
    "package-lock.json": "install",
    "npm-shrinkwrap.json": "install",
    "tsconfig.json": "dev_server",
    "jsconfig.json": "dev_server",
}
"""File name → the source of the problem if such a file cannot be parsed."""
_WITH_COMMENTS: Final = frozenset({"tsconfig.json", "jsconfig.json"})

SERVERS: Final = tuple(f"server.{extension}" for extension in ("ts", "js", "mjs", "cjs", "mts"))
EXAMPLES: Final = (".env.example", ".env.sample", ".env.template")
ENV_FILES: Final = (".env", ".env.local", ".env.development", ".env.development.local")
_EXTENSIONS: Final = ("ts", "js", "tsx", "jsx", "mjs")
MIDDLEWARE: Final = tuple(
    (folder, name, f"{folder}{name}.{extension}")
    for folder in ("", "src/")
    for name in ("middleware", "proxy")
    for extension in _EXTENSIONS
)
READ: Final = (*SERVERS, *EXAMPLES, *ENV_FILES, "package.json")
"""What is read at the root. The files of JSON_NAMES are read in every folder."""
NAMES_SHOWN: Final = 12

_VARIABLE = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=", re.MULTILINE)
_SERVES = re.compile(rb"createServer\s*\(|\.listen\s*\(")


def is_json(path: str) -> bool:
    return path.rpartition("/")[2] in JSON_NAMES


def review(
    files: Mapping[str, bytes], there: AbstractSet[str], *, next_major: int | None, environ: AbstractSet[str]
) -> FileFacts:
    """`files`: path → content, of what READ and JSON_NAMES name. `there`: which paths of MIDDLEWARE exist.
    `next_major`: the installed version of Next, None without one. `environ`: the variables that the app is given.
    """
    broken: list[Problem] = []
    faulty: list[Problem] = []
    for path in sorted(path for path in files if is_json(path)):
        name = path.rpartition("/")[2]
        problem = _unreadable(path, files[path], JSON_NAMES[name], jsonc=name in _WITH_COMMENTS)
        if problem is not None:
            # An installation works without a lock file, and Next reads only the root's tsconfig.json.
            (broken if path in _WITH_COMMENTS else faulty).append(problem)
    broken += _two_of_a_kind(there, next_major)
    notes = [*_unused_servers(files), *_no_env_file(files, environ)]
    return FileFacts(tuple(broken), tuple(faulty), tuple(notes))


def _unreadable(path: str, data: bytes, source: Source, *, jsonc: bool) -> Problem | None:
    error = describe(path, data, jsonc=jsonc)
    if error is None:
        return None
    return Problem(source, error.report, path, error.line, error.column, code="broken-file")


def _two_of_a_kind(there: AbstractSet[str], next_major: int | None) -> list[Problem]:
    """The problem of middleware beside proxy: Next 16 has renamed it, and does not start if both exist."""
    if next_major is None or next_major < 16:
        return []
    found = {name: path for _, name, path in MIDDLEWARE if path in there}
    if len(found) < 2:
        return []
    old, new = found["middleware"], found["proxy"]
    message = (
        f"{old} and {new} are both there, and Next.js {next_major} does not start with both: move what {old} does "
        f"into {new}, and delete {old}"
    )
    return [Problem("dev_server", message, old, code="two-proxies")]


def _unused_servers(files: Mapping[str, bytes]) -> list[Note]:
    script = _dev_script(files.get("package.json", b""))
    if script is None:
        return []
    return [
        Note(f'{name} is not started: the dev script of package.json is "{script}", which does not name it', name)
        for name in SERVERS
        if name in files and _SERVES.search(files[name]) and not _names(script, name)
    ]


def _names(script: str, file: str) -> bool:
    return (
        re.search(rf"(?<![\w-])(?:{re.escape(file)}|{re.escape(file.partition('.')[0])})(?![\w-])", script) is not None
    )


def _dev_script(manifest: bytes) -> str | None:
    try:
        parsed = orjson.loads(manifest)
        script = parsed["scripts"]["dev"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
    return script if isinstance(script, str) else None


def _no_env_file(files: Mapping[str, bytes], environ: AbstractSet[str]) -> list[Note]:
    """A note if there is an example of an .env file but no .env file, and variables of it are not set."""
    example = next((name for name in EXAMPLES if name in files), None)
    if example is None or any(name in files for name in (".env", ".env.local")):
        return []
    given = {name for file in ENV_FILES for name in variables(files.get(file, b""))}
    lacking = [name for name in variables(files[example]) if name not in given and name not in environ]
    if not lacking:
        return []
    shown = ", ".join(lacking[:NAMES_SHOWN]) + (
        f" and {len(lacking) - NAMES_SHOWN} more" if len(lacking) > NAMES_SHOWN else ""
    )
    return [
        Note(
            f"{example} is there and .env.local is not: {shown} {'is' if len(lacking) == 1 else 'are'} not set", example
        )
    ]


def variables(env_file: bytes) -> Sequence[str]:
    """The names of the variables that an .env file sets, in its order."""
    return list(dict.fromkeys(_VARIABLE.findall(env_file.decode("utf-8", "replace"))))
