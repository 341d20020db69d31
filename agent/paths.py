"""What may be written: the contract's rules for paths and its limits (section 5).

Pure. The backend's side uses the same rules, so that what it accepts is what an agent will write. Whether a path
on the disk is a link is not decided here: only the disk knows (tree.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_FILES = 20_000
MAX_SET_BYTES = 512 * 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024

MAX_PART_BYTES = 255
MAX_PATH_BYTES = 1_024

RESERVED = frozenset({".git", ".next", "node_modules", ".preview-agent"})
"""Names that belong to git, to Next, to the package manager and to the agent, at any depth."""

NEXT_WRITES = frozenset({"next-env.d.ts", "tsconfig.json"})
"""Files that Next completes by itself at its start: a change of theirs on the disk is nobody's edit."""

_CONFIG_STEMS = ("next.config.", "postcss.config.", "tailwind.config.", ".env")
_CONFIG_NAMES = frozenset({"tsconfig.json", "jsconfig.json", "package.json"})


def refusal(path: str) -> str | None:
    """Why `path` is not written, as the end of a sentence that begins with the path; None when it may be."""
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
        return f"lies in {part}, which is not the app's"
    return None


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def shown(path: str) -> str:
    """`path` fit for a message: nothing that is not printable, and not endless."""
    if len(path) <= 200 and path.isprintable():
        return path
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in path[:200])
    return text + ("…" if len(path) > 200 else "")


def folders_of(path: str) -> Iterator[str]:
    """The folders above `path`, the outermost first: a/b/c → a, a/b."""
    end = path.find("/")
    while end != -1:
        yield path[:end]
        end = path.find("/", end + 1)


def overlapping(paths: Iterable[str]) -> frozenset[str]:
    """Those of `paths` that cannot be together on one disk: each is a folder of another, or lies in a file."""
    every = frozenset(paths)
    clashing: set[str] = set()
    for path in every:
        for folder in folders_of(path):
            if folder in every:
                clashing |= {path, folder}
    return frozenset(clashing)


def is_config(path: str) -> bool:
    """Whether the dev server restarts or reloads for `path`: such a file is moved into place after all sources."""
    return "/" not in path and (path in _CONFIG_NAMES or path.startswith(_CONFIG_STEMS))
