"""The contract's rules for paths and its limits (section 5): which files may be written.

Pure. The control plane uses the same rules, so that an agent writes every file that it accepts. Whether a path is a
link on disk must not be decided here (agent/sync/disk/workspace_tree.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.text import escaped

MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_FILES = 20_000
MAX_SET_BYTES = 512 * 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024

MAX_PART_BYTES = 255
MAX_PATH_BYTES = 1_024

RESERVED = frozenset({".git", ".next", "node_modules", ".preview-agent"})
"""Names of git, Next, the package managers and the agent, refused at any depth."""

NEXT_WRITES = frozenset({"next-env.d.ts", "tsconfig.json"})
"""Files that Next itself changes when it starts, so a change on disk is not an edit."""

_CONFIG_STEMS = ("next.config.", "postcss.config.", "tailwind.config.", ".env")
_CONFIG_NAMES = frozenset({"tsconfig.json", "jsconfig.json", "package.json"})


def refusal(path: str) -> str | None:
    """Why `path` must not be written, as the end of a sentence that begins with the path; None if it may be."""
    if not path:
        return "is empty"
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if length > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES:,} bytes"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path:
        return "has a backslash"
    if not path.isprintable() and any(_is_control(character) for character in path):
        return "has a control character"
    for part in path.split("/"):
        if why := _part_refusal(part):
            return why
    return None


def _part_refusal(part: str) -> str | None:
    if not part:
        return "has an empty part"
    if part in {".", ".."}:
        return f"has a {part!r} part"
    if len(part) > MAX_PART_BYTES // 4 and len(part.encode()) > MAX_PART_BYTES:
        return f"has a part longer than {MAX_PART_BYTES} bytes"
    if part.casefold() in RESERVED:
        return f"lies in {part}, which is reserved"
    return None


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def shown(path: str) -> str:
    """`path` as shown in messages: at most 200 characters, unprintable ones as escapes."""
    return escaped(path, 200)


def folders_of(path: str) -> Iterator[str]:
    """The parent folders of `path`, the outermost first: a/b/c → a, a/b."""
    end = path.find("/")
    while end != -1:
        yield path[:end]
        end = path.find("/", end + 1)


def overlapping(paths: Iterable[str]) -> frozenset[str]:
    """The paths that cannot exist together because one is a folder of the other: both of each such pair."""
    every = frozenset(paths)
    clashing: set[str] = set()
    for path in every:
        for folder in folders_of(path):
            if folder in every:
                clashing |= {path, folder}
    return frozenset(clashing)


def is_config(path: str) -> bool:
    """True if `path` is a configuration file, which is moved into place after all sources."""
    return "/" not in path and (path in _CONFIG_NAMES or path.startswith(_CONFIG_STEMS))
