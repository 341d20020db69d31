"""Finds the error that ended a program in the program's output. Pure.

A program prints its error between its banner and the end of a stack trace, whose last lines are the least useful.
`find` returns the last headline of an error (`TypeError: …`, `error: …`, `npm error …`), the file it is about, and
advice for frequent errors. The wordings are those of Node, Next, Vite, tsx, esbuild,
t3-env and zod; the tests hold them as they were recorded.

Used for the dev server's exit, an installation and the failed page. The app's code can print anything, so the result is
only displayed and never used for a decision.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.text import plain

LINES_READ = 400
TEXT_CHARACTERS = 400
DETAIL_LINES = 12
NAMES_SHOWN = 8

_HEADLINE = re.compile(
    r"(?:(?:[Uu]nhandled ?Rejection:|Uncaught(?: Exception:)?:?) )*"
    r"(?P<text>(?P<kind>[A-Z]\w*(?:Error|Exception)|Error)(?: \[(?P<code>\w+)\])?: (?P<message>.+)"
    r"|(?:error|fatal)(?:: | )\S.+|FATAL ERROR: .+|(?:/bin/)?(?:ba|z|da)?sh: .+not found.*)"
)
# Prefixes that a program puts before the lines of its child programs, and Next before its errors.
_PREFIX = re.compile(r"^(?:\[[\w:@/.-]+\] (?=\S)|[\u2a2f\u2718\u00d7] )+")
_NPM = re.compile(r"^npm (?:error|ERR!) ?")
_NPM_NOISE = re.compile(
    r"A complete log of this run|Lifecycle script|workspace |location |in workspace|errno |syscall |$"
)
_FRAME = re.compile(r"^\s+at (?:.*\()?(?:file://)?(?P<file>[^\s():]+):(?P<line>\d+):(?P<column>\d+)\)?")
_NODE_HEADER = re.compile(r"^(?:file://)?(?P<file>/[^:]+):(?P<line>\d+)$")
_CONFIG = re.compile(r"[Ff]ailed to load (?:config from )?(?P<file>\S+\.config\.\w+)")
_REQUIRED_BY = re.compile(r"^- (?P<file>/\S+)$")
_COMPILED = re.compile(r"(?P<stem>next\.config)\.compiled\.js$")
_SWC_PLACE = re.compile(r"^\s*(?:,-|╭─)\[(?:.*:)?(?P<line>\d+):(?P<column>\d+)\]")
_SWC_MARK = re.compile(r"^(Error: )(?:\s+[x\u00d7]|>) ")
_BUNDLED = re.compile(r"^(?P<file>\S+?):(?P<line>\d+):(?P<column>\d+): (?:ERROR|error): (?P<text>.+)")
_IMPORTER = re.compile(r" imported from (?P<file>\S+)$")
_LEARN_MORE = re.compile(r"\.? (?:Learn more|See|Read more)\S*:? https?://\S+$")
_CODE = re.compile(r"^\s*(?:>\s*)?\d* ?[|│:·]|^\s*[|│]|^\s*\^+\s*$|^\s*[`╰]")
_NOISE = re.compile(
    r"^\s*(?:at |[\]}{)]|Node\.js v|\^|throw |code: |errno: |syscall: |location: |requireStack: |- /|Require stack)"
    r"|^\S*node:internal|^\s*triggerUncaughtException|telemetry|anonymous program"
)
_NOT_THE_APPS = re.compile(r"node_modules|^node:|^<|/home/iojs|^\./nptl|^\.\./\.\./\.\.")
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_NO_VARIABLES = re.compile(r"^(?:ERR|MODULE|ECONN|EADDR|NODE)_|^MODULE_NOT_FOUND$")
_ABOUT_VARIABLES = re.compile(r"env(?:ironment)?[ _-]?var|process\.env|ZodError|environment", re.IGNORECASE)
_NOT_DEFINED = re.compile(r"^(?:\w+: )?(?:\w+ )?(?P<name>[A-Z][A-Z0-9]*_[A-Z0-9_]+) (?:is|must be|was) ")
_NO_MODULE = re.compile(r"Cannot find (?:module|package) '(?P<name>[^']+)'")
_PACKAGE = re.compile(r"(?:@[\w.~-]+/)?[A-Za-z0-9][\w.~-]*")


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """`text`: the error as the program named it. `place`: the app's own file that it is about, with its line where that
    is known. `details`: the lines of code, or further lines, that belong to it. `advice`: what mends it, a sentence.
    """

    text: str
    place: str | None = None
    details: tuple[str, ...] = ()
    advice: str | None = None

    @property
    def headline(self) -> str:
        """One line: the error and its place."""
        if self.place is None or self.place in self.text:
            return self.text
        return f"{self.text} ({self.place})"


def find(output: Sequence[str]) -> ErrorLine | None:
    """The error in the last lines of a program's output, or None if no line looks like one."""
    lines = [_PREFIX.sub("", plain(line).rstrip()) for line in output[-LINES_READ:]]
    npm = [_NPM.sub("", line) for line in lines if _NPM.match(line)]
    at = next((at for at in reversed(range(len(lines))) if _HEADLINE.match(lines[at])), None)
    if at is None:
        return _of_npm(npm) or _last_of(lines)
    found = _HEADLINE.match(lines[at])
    text = found["text"] if found else lines[at]
    if found and found["code"]:
        text = f"{found['kind']}: {found['message']}"
    text = _SWC_MARK.sub(r"\1", text)
    place = _place(lines, at)
    details = _details(lines, at)
    bundled = next((match for line in lines[at : at + 3] if (match := _BUNDLED.match(line))), None)
    if text.endswith(":") and bundled:
        text, place = bundled["text"], f"{bundled['file']}:{bundled['line']}"
        details = tuple(line for line in details if not _BUNDLED.match(line))
    names = _variables(lines, at, text)
    if text.endswith((":", "[", "{")):
        text, details = _whole(text, lines, at), ()
    if importer := _IMPORTER.search(text):
        text = text[: importer.start()]
        place = place or (None if _NOT_THE_APPS.search(importer["file"]) else importer["file"])
    text = _LEARN_MORE.sub("", text)
    if names and not any(name in text for name in names):
        text = f"{text}: {', '.join(names[:NAMES_SHOWN])}"
    return ErrorLine(text[:TEXT_CHARACTERS], place, details, _advice(text, names))


def _whole(text: str, lines: list[str], at: int) -> str:
    """A headline that ends where a dump of values begins, with the line after that dump that says what is wrong."""
    start = text.rstrip(":[{ ")
    for line in lines[at + 1 : at + LINES_READ]:
        if _FRAME.match(line):
            break
        if line.startswith("- "):
            return f"{start}: {line[2:]}"
    return start


def _of_npm(npm: list[str]) -> ErrorLine | None:
    """The error of npm, which prints a code first and then its meaning."""
    useful = [line for line in npm if not _NPM_NOISE.match(line)]
    if not useful:
        return None
    code = useful[0].removeprefix("code ") if useful[0].startswith("code ") else ""
    words = [line for line in useful if not line.startswith("code ")]
    text = " ".join(part for part in (code, words[0] if words else "") if part)
    return ErrorLine(text[:TEXT_CHARACTERS], None, tuple(words[1:DETAIL_LINES]))


def _last_of(lines: list[str]) -> ErrorLine | None:
    matters = [line for line in lines if line.strip() and not _NOISE.search(line) and not _CODE.match(line)]
    return ErrorLine(matters[-1].strip()[:TEXT_CHARACTERS]) if matters else None


def _place(lines: list[str], at: int) -> str | None:
    """The app's file of the error whose headline is lines[at]: as the loader named it, else the first frame that is
    in no package.
    """
    for before in reversed(range(max(0, at - 6), at)):
        if config := _CONFIG.search(lines[before]):
            return _config(config["file"].rpartition("/")[2], lines, at)
        header = _NODE_HEADER.match(lines[before])
        if header and not _NOT_THE_APPS.search(header["file"]):
            return f"{header['file']}:{header['line']}"
    for line in lines[at + 1 : at + 30]:
        frame = _FRAME.match(line)
        if frame and not _NOT_THE_APPS.search(frame["file"]):
            return f"{frame['file']}:{frame['line']}"
        required = _REQUIRED_BY.match(line)
        if required and not _NOT_THE_APPS.search(required["file"]):
            return required["file"]
    return None


def _config(name: str, lines: list[str], at: int) -> str:
    """The configuration file `name` with its line, where a frame of its own or the compiler's note tells it."""
    for line in lines[at + 1 : at + 30]:
        frame = _FRAME.match(line)
        if frame and not _NOT_THE_APPS.search(frame["file"]) and not _COMPILED.search(frame["file"]):
            return (
                f"{frame['file'].rpartition('/')[2] if frame['file'].endswith(name) else frame['file']}:{frame['line']}"
            )
        if swc := _SWC_PLACE.match(line):
            return f"{name}:{swc['line']}"
    return name


def _details(lines: list[str], at: int) -> tuple[str, ...]:
    """The piece of code that the program printed, and other lines of the message itself."""
    before: list[str] = []
    for line in reversed(lines[max(0, at - 5) : at]):
        if not before and not line.strip():
            continue
        if _NODE_HEADER.match(line) and not _NOT_THE_APPS.search(line):
            return tuple(reversed(before))
        before.append(line)
    after: list[str] = []
    in_message = True
    for line in lines[at + 1 : at + 40]:
        if _HEADLINE.match(line) or line.startswith(("Node.js v", "Caused by", "Stack backtrace")):
            break
        in_message = in_message and not _FRAME.match(line) and not _NOISE.search(line)
        if _CODE.match(line) or (in_message and line.strip()):
            after.append(line)
    return tuple(after[:DETAIL_LINES])


def _variables(lines: list[str], at: int, text: str) -> list[str]:
    """The environment variables that the error is about."""
    single = _NOT_DEFINED.match(text)
    if single:
        return [single["name"]]
    if not _ABOUT_VARIABLES.search(text):
        return []
    names = _names(text)
    if names:
        return names
    if text.endswith(("[", "{")):
        return _names("\n".join(lines[at + 1 : at + 80]))
    before = lines[max(0, at - 80) : at]
    start = next((number for number, line in enumerate(before) if _ABOUT_VARIABLES.search(line)), len(before))
    return _names("\n".join(before[start:]))


def _names(text: str) -> list[str]:
    return [name for name in dict.fromkeys(_VARIABLE.findall(text)) if not _NO_VARIABLES.search(name)]


def _advice(text: str, names: list[str]) -> str | None:
    if names:
        return f"Set {' and '.join(', '.join(names[:NAMES_SHOWN]).rsplit(', ', 1))} in .env.local."
    module = _NO_MODULE.search(text)
    if module is not None:
        package = _PACKAGE.match(module["name"])
        if package and not module["name"].startswith(("node:", "@/")):
            return f"Add {package[0]} to the dependencies in package.json, or remove the import of it."
        return "The import names a file that does not exist: correct its path, or add the file."
    if "EADDRINUSE" in text:
        return "Another program uses that port. The server has to listen on the port in the variable PORT."
    if "ECONNREFUSED" in text:
        return "No server answers at that address from this machine: set an address that the app can reach here."
    if "heap out of memory" in text:
        return "The app needs more memory than this machine has."
    return None
