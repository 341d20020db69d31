"""Finds in a package manager's output why a run failed. Pure.

A failure is found by the manager's own error code, from the end of the output. Where a script of a package failed, the
reason is what that script printed last, and not what the manager printed about it.

Import this only after a failure: its patterns take 0.3 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from agent.packages.output import MESSAGE_CHARACTERS, FailureCause
from agent.packages.toolchain import Manager
from agent.text import plain

MESSAGE_LINES: Final = 12
SCRIPT_LINES: Final = 8
_COMMAND_CHARACTERS: Final = 120


def find_cause(manager: Manager, lines: Iterable[str]) -> FailureCause:
    """The cause of a failed run, from its whole output."""
    printed = [line.rstrip() for line in lines]
    found = _CAUSES[manager](printed)
    if not found.message:
        last = [line for line in printed if line.strip()][-MESSAGE_LINES:]
        found = FailureCause("\n".join(last), found.code)
    return FailureCause(
        found.message[:MESSAGE_CHARACTERS],
        found.code,
        found.script,
        found.conflicts,
        *_place(manager, found.message),
    )


def last_lines(printed: Iterable[str]) -> list[str]:
    """The last lines of a script's output, without stack frames and other lines that explain nothing."""
    return [line for line in printed if not _SCRIPT_NOISE.match(line)][-SCRIPT_LINES:]


_NPM_ERROR = re.compile(r"npm (?:error|ERR!) ?")
_NPM_NOISE = re.compile(
    r"A complete log of this run|For a full report see|\S*eresolve-report\.txt|Fix the upstream dependency conflict"
    r"|\d+ Note that you can also|\d+ tarball, folder|notarget In most cases|notarget or one of your|\d+$|$"
)
_NPM_PATH = re.compile(r"path .*node_modules/((?:@[^/]+/)?[^/]+)$")
_NPM_CONFLICT = re.compile(r"(?:peer .+? from |Found: |While resolving: )((?:@[^/\s]+/)?[^@\s]+@\S+)")


def _npm(lines: list[str]) -> FailureCause:
    own = [line[found.end() :] for line in lines if (found := _NPM_ERROR.match(line))]
    code = next((line.removeprefix("code ") for line in reversed(own) if line.startswith("code ")), None)
    command = next((at for at, line in enumerate(own) if line.startswith("command ")), None)
    if "command failed" in own and command is not None:
        command = own.index("command failed") + 1
        path = next((found[1] for line in own if (found := _NPM_PATH.match(line))), None)
        ran = own[command].removeprefix("command ").removeprefix("sh -c ") if command < len(own) else ""
        printed = [line for line in own[command + 1 :] if not _NPM_NOISE.match(line)]
        if not printed:  # the output of the app's own script stands before npm's
            first = next((at for at, line in enumerate(lines) if _NPM_ERROR.match(line)), len(lines))
            printed = [line for line in lines[:first] if not line.startswith(("npm ", "> "))]
        return _script_failure(f"{path or 'the app'}: {ran}", printed, code)
    matters = [line for line in own if not _NPM_NOISE.match(line)]
    conflicts = tuple(dict.fromkeys(found for line in own for found in _NPM_CONFLICT.findall(line)))
    peers = tuple(name for name in conflicts if not name.endswith("@undefined")) if code == "ERESOLVE" else ()
    return FailureCause("\n".join(matters[:MESSAGE_LINES]), code, conflicts=peers)


_PNPM_CODE = re.compile(r"(?:\W*(?:Error|ERROR)\W+)?\W*(ERR_PNPM_\w+)\W")
_PNPM_ERROR = re.compile(r"\s*(?:\[?ERR(?:OR|_PNPM_\w+)\]?|Error:)\W")
_PNPM_SCRIPT = re.compile(r"(?:\S*node_modules/((?:@[^/ ]+/)?[^/ ]+)|(\.)) (\w+)(\$|:) ?(.*)")
_PNPM_NOISE = re.compile(r"No authorization header|If you need the full list|For help, run|Progress: |$")


def _pnpm(lines: list[str]) -> FailureCause:
    if any(re.match(r"\s*\[?ELIFECYCLE\]?\b", line) or "ERR_PNPM_LIFECYCLE" in line for line in lines):
        last = next((found for line in reversed(lines) if (found := _PNPM_SCRIPT.match(line))), None)
        if last is None:
            end = next(at for at, line in enumerate(lines) if "LIFECYCLE" in line)
            begin = max((at for at, line in enumerate(lines[:end]) if line.startswith("> ")), default=-1)
            ran = lines[begin][2:] if begin >= 0 else ""
            return _script_failure(f"the app: {ran}", lines[begin + 1 : end], "ELIFECYCLE")
        parts = [found for line in lines if (found := _PNPM_SCRIPT.match(line)) and found[1] == last[1]]
        ran = next((found[5] for found in parts if found[4] == "$"), last[3])
        return _script_failure(
            f"{last[1] or 'the app'}: {ran}", [found[5] for found in parts if found[4] == ":"], "ELIFECYCLE"
        )
    starts = [at for at, line in enumerate(lines) if _PNPM_CODE.match(line) or _PNPM_ERROR.match(line)]
    if not starts:
        return FailureCause("")
    coded = _PNPM_CODE.match(lines[starts[-1]])
    matters = [line for line in lines[starts[-1] :] if not _PNPM_NOISE.match(line.strip())]
    return FailureCause("\n".join(matters[:MESSAGE_LINES]).strip(), coded[1] if coded else None)


_YARN_FAILED = re.compile(r"error (?:\S*node_modules/((?:@[^/]+/)?[^/:]+): )?Command failed")
_YARN_NOISE = re.compile(r"info |warning |\s+at |\[\d+/\d+\]|$")


def _yarn(lines: list[str]) -> FailureCause:
    starts = [at for at, line in enumerate(lines) if line.startswith("error ")]
    if not starts:
        return FailureCause("")
    failed = _YARN_FAILED.match(lines[starts[-1]])
    rest = lines[starts[-1] :]
    if failed and "Output:" in rest:
        ran = next((line.removeprefix("Command: ") for line in rest if line.startswith("Command: ")), "")
        printed = [line for line in rest[rest.index("Output:") + 1 :] if not line.startswith("info ")]
        return _script_failure(f"{failed[1] or 'the app'}: {ran}", printed, None)
    if failed:
        begin = max((at for at, line in enumerate(lines[: starts[-1]]) if line.startswith("$ ")), default=-1)
        ran = lines[begin][2:] if begin >= 0 else ""
        return _script_failure(f"the app: {ran}", lines[begin + 1 : starts[-1]], None)
    matters = [line.removeprefix("error ") for line in rest if not _YARN_NOISE.match(line)]
    return FailureCause("\n".join(matters[:MESSAGE_LINES]))


_BERRY = re.compile(r"➤ (YN\d{4}): (?:[│┌└·] ?)?(.*)")
_BERRY_SCRIPT = re.compile(r"(\S+?)@\S* STD(?:OUT|ERR) ?(.*)")
_BERRY_FAILED = re.compile(r"(\S+?)@\S* couldn't be built successfully \((exit code \d+)")
_BERRY_NO_ERRORS: Final = frozenset({"YN0000", "YN0002", "YN0004", "YN0007", "YN0013", "YN0060", "YN0061", "YN0085"})
"""Codes of messages that are no errors, among them warnings about peers and builds."""
_BERRY_ERROR = re.compile(r"(?:Usage Error|Internal Error|Syntax Error|\w*(?:Error|Exception)): ?(.*)")


def _berry(lines: list[str]) -> FailureCause:
    lines = [plain(line) for line in lines]
    coded = [(found[1], found[2]) for line in lines if (found := _BERRY.match(line))]
    for code, text in coded:
        if failed := _BERRY_FAILED.match(text):
            parts = [found for _, part in coded if (found := _BERRY_SCRIPT.match(part)) and found[1] == failed[1]]
            return _script_failure(f"{failed[1]}: {failed[2]}", [found[2] for found in parts], code)
    errors = [(code, text) for code, text in coded if code not in _BERRY_NO_ERRORS and text.strip()]
    if errors:
        matters = [f"{code}: {text.strip()}" for code, text in errors[:MESSAGE_LINES]]
        return FailureCause("\n".join(matters), errors[0][0])
    start = next((at for at, line in enumerate(lines) if _BERRY_ERROR.match(line)), None)
    if start is None:
        return FailureCause("")
    matters = [line for line in lines[start:] if line.strip() and not re.match(r"\s+at |\$ yarn", line)]
    return FailureCause("\n".join(dict.fromkeys(matters[:MESSAGE_LINES])))


_BUN_SCRIPT = re.compile(r"error: (\w+) script from \"([^\"]+)\" (exited with \d+|.*)")
_BUN_NOISE = re.compile(r"Resolving dependencies|Resolved, downloaded|bun (?:install|add) v|Saved lockfile|\$ |$")


def _bun(lines: list[str]) -> FailureCause:
    for at, line in enumerate(lines):
        if failed := _BUN_SCRIPT.match(line):
            printed = [line for line in lines[:at] if not _BUN_NOISE.match(line)]
            return _script_failure(f"{failed[2]}: {failed[1]} {failed[3]}", printed, None)
    starts = [at for at, line in enumerate(lines) if re.match(r"error(?::| )", line)]
    if not starts:
        return FailureCause("")
    before = lines[max(0, starts[0] - 2) : starts[0]] if lines[starts[0]].startswith("error: Expected") else []
    return FailureCause("\n".join([*before, *[line for line in lines[starts[0] :] if line.strip()]][:MESSAGE_LINES]))


_CAUSES: Final[Mapping[Manager, Callable[[list[str]], FailureCause]]] = {
    "npm": _npm,
    "pnpm": _pnpm,
    "yarn": _yarn,
    "yarn-berry": _berry,
    "bun": _bun,
}

_SCRIPT_NOISE = re.compile(
    r"\s+at |\s*\^+$|Node\.js v\d|node:internal|gyp (?:info|http|verb)|\s*$|Failed$"
    r"|gyp ERR! (?:System|command|cwd|node -v|node-gyp -v|not ok|\$npm|stack\s+at )|npm warn |> |\s*throw |\s*[{}],?$"
)


def _script_failure(what: str, printed: list[str], code: str | None) -> FailureCause:
    """`what`: the script's owner, a colon, and its command."""
    owner, _, ran = what.partition(": ")
    matters = last_lines(printed)
    headline = f"an install script of {owner} failed" + (f" ({ran[:_COMMAND_CHARACTERS]})" if ran else "")
    return FailureCause("\n".join([headline, *matters]), code, script=True)


_PLACE = re.compile(
    r"(?:indentation|mapping|key|tag|token|stream|YAML).*\((\d{1,7}):(\d{1,7})\)|at (bun\.lock):(\d{1,7}):(\d{1,7})"
)
_FILES_READ: Final[Mapping[Manager, tuple[str, ...]]] = {
    "pnpm": ("pnpm-lock.yaml", "pnpm-workspace.yaml"),
    "yarn-berry": ("yarn.lock",),
    "bun": ("bun.lock",),
}


def _place(manager: Manager, message: str) -> tuple[str | None, int | None, int | None]:
    """File, line and column of a YAML or lock file that could not be parsed. pnpm names its lock file in the message,
    but not pnpm-workspace.yaml.
    """
    found = _PLACE.search(message)
    files = _FILES_READ.get(manager, ())
    if found is None or not files:
        return None, None, None
    file = next((name for name in files if name in message), files[-1])
    return file, int(found[1] or found[4]), int(found[2] or found[5])
