"""Rewrites a script of package.json so that it serves the app on the preview's port. Pure.

A script stays as its author wrote it, except for three things: flags that set the port and address, wrappers that the
shell can replace (cross-env, npx), and calls of other scripts of the same package, which are replaced by their
rewritten text. Parts that cannot be parsed stay as they are.

Invariant: a note is made for each flag that is left out, unless the flag only sets the port or the address.

What must not live here: which programs are installed, and the flags of each framework (frameworks/).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.devserver.command.command_line import KEYWORDS, arguments, assignments
from agent.devserver.command.shell_words import Unreadable, Word, quoted, replaced, scan
from agent.devserver.frameworks import known
from agent.devserver.frameworks.framework import Framework, ServerProgram

DEPTH: Final = 8
"""How deeply scripts may call each other."""
CHARACTERS: Final = 16_000
STARS: Final = 4

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_SHORT: Final = frozenset({"pnpm", "yarn", "bun"})
"""They run scripts and programs without a subcommand: `pnpm dev`."""
_RUN: Final = frozenset({"run", "run-script", "rum", "urn"})
_EXEC: Final[Mapping[str, frozenset[str]]] = {
    "npm": frozenset({"exec", "x"}),
    "pnpm": frozenset({"exec", "dlx"}),
    "yarn": frozenset({"exec", "dlx"}),
    "bun": frozenset({"x"}),
}
_ELSEWHERE: Final = frozenset(
    {"-w", "--workspace", "--workspaces", "--filter", "-F", "-r", "--recursive", "-C", "--dir", "--prefix", "--cwd"}
)
"""Flags with which a package manager runs a script of another folder."""
_RUNTIMES: Final = frozenset({"ts-node-dev", "tsnd", "node-dev", "deno", "babel-node"})
_VALUE_FLAGS: Final[Mapping[str, frozenset[str]]] = {
    "dotenv": frozenset({"-e", "-v", "-p"}),
    "env-cmd": frozenset({"-f", "--file", "-e", "--environments", "-r", "--rc-file"}),
    "env": frozenset({"-u", "--unset", "-C", "--chdir"}),
    "npx": frozenset({"-p", "--package"}),
    "concurrently": frozenset(
        {
            *("-n", "--names", "-c", "--prefix-colors", "-p", "--prefix", "-m", "--max-processes", "-l"),
            *("--prefix-length", "-t", "--timestamp-format", "--name-separator", "--kill-signal", "--ks", "-s"),
            *("--success", "--restart-tries", "--restart-after", "--hide", "--default-input-target"),
        }
    ),
}
_RUNTIME_VALUE_FLAGS: Final = frozenset(
    {
        *("-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "--env-file"),
        *("-w", "--watch-path", "-e", "--ext", "-x", "--exec", "-i", "--ignore", "--tsconfig", "-P", "--project"),
        *("--delay", "-d", "--signal", "-s", "-O", "--compiler-options"),
    }
)


@dataclass(frozen=True, slots=True)
class Package:
    """The scripts and dependencies of a package.json."""

    scripts: Mapping[str, str]
    dependencies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RewrittenScript:
    text: str
    """The command line for /bin/sh."""
    framework: Framework | None = None
    """The framework that serves, as does `tool`; None for a server of the app's own, or if nothing known serves."""
    tool: ServerProgram | None = None
    own_server: bool = False
    """A server of the app's own serves."""
    entry: str | None = None
    """The file of that server."""
    notes: tuple[str, ...] = ()
    """For the app's owner."""


def rewrite(name: str, package: Package, port: int) -> RewrittenScript:
    """The script `name` with the preview's port and address. Raises KeyError if there is no such script."""
    found = _Rewriter(package, port)
    found.script(name, (), package.scripts[name])
    chosen = _chosen(found.tools, package)
    rewriter = _Rewriter(package, port, chosen[1] if chosen else None)
    text = rewriter.script(name, (), package.scripts[name])
    notes = tuple(dict.fromkeys(rewriter.notes))
    if chosen is not None:
        return RewrittenScript(text, *chosen, notes=notes)
    return RewrittenScript(text, own_server=rewriter.own_server, entry=rewriter.entry, notes=notes)


def _chosen(tools: list[tuple[Framework, ServerProgram]], package: Package) -> tuple[Framework, ServerProgram] | None:
    """The program that serves the app, if a script starts several: Storybook beside Next, or an API server."""
    own = known.by_packages(package.dependencies)
    return next((found for found in tools if own and found[1] in own.tools), tools[0] if tools else None)


@dataclass(slots=True)
class _Rewriter:
    """One pass over a script and the scripts in it."""

    package: Package
    port: int
    chosen: ServerProgram | None = None
    """Its first command line gets the preview's port. Other programs keep theirs."""
    tools: list[tuple[Framework, ServerProgram]] = field(default_factory=list)
    own_server: bool = False
    entry: str | None = None
    notes: list[str] = field(default_factory=list)
    inside: tuple[str, ...] = ()
    characters: int = 0

    def script(self, name: str, more: tuple[str, ...], text: str) -> str:
        """The text of one script after its pre-script, with the arguments `more` as in `npm run x -- more`."""
        self.inside = (*self.inside, name)
        try:
            own = self.text(" ".join((text, *more)))
            before = self.package.scripts.get(f"pre{name}")
            if before is None or f"pre{name}" in self.inside:
                return own
            return f"{_group(self.text(before))} && {_group(own)}"
        finally:
            self.inside = self.inside[:-1]

    def text(self, text: str) -> str:
        self.characters += len(text)
        if self.characters > CHARACTERS:
            return text
        try:
            line = scan(text)
        except Unreadable:
            return text
        changes = []
        for command in line.commands:
            start, end = (command.words[0].start, command.words[-1].end) if command.words else (0, 0)
            # A redirection between the words would be lost, so such a command stays as it is.
            if command.words and not any(mark in text[start:end] for mark in "<>" if command.redirected):
                new = self.command(command.words)
                changes += [] if new is None else [(start, end, new)]
        return replaced(text, changes)

    def command(self, words: tuple[Word, ...]) -> str | None:
        """The new text of one simple command; None if it stays as it is."""
        at = 0
        while at < len(words) and (words[at].raw in KEYWORDS or _ASSIGNMENT.match(words[at].raw)):
            at += 1
        if at == len(words) or words[at].value is None:
            return None
        before, program, rest = [word.raw for word in words[:at]], _name(words[at].value or ""), words[at + 1 :]
        new = self.program(program, words[at], rest)
        return None if new is None else " ".join([*before, new])

    def program(self, program: str, first: Word, rest: tuple[Word, ...]) -> str | None:
        match program:
            case "cross-env" | "cross-env-shell" | "env":
                return self.with_variables(program, rest)
            case "dotenv" | "dotenvx" | "env-cmd":
                return self.wrapped(program, first, rest)
            case "npx" | "bunx" | "pnpx":
                return self.executed([first.raw], rest)
            case "concurrently" | "conc":
                return self.concurrently(first, rest)
            case "npm-run-all" | "npm-run-all2" | "run-p" | "run-s":
                return self.run_all(program, rest)
            case "node" | "tsx" | "ts-node" | "nodemon" | "bun" if rest and self.is_runtime(program, rest):
                return self.runtime(program, first, rest)
            case "npm" | "pnpm" | "yarn" | "bun":
                return self.manager(program, first, rest)
            case _ if program in _RUNTIMES:
                return self.runtime(program, first, rest)
            case _:
                return self.tool_of(program, [first.raw], rest)

    def tool_of(self, program: str, start: list[str], rest: tuple[Word, ...]) -> str | None:
        found = known.by_program(program, rest[0].value if rest else None)
        if found is None:
            return None
        _, tool = found
        self.tools.append(found)
        if tool is not self.chosen or sum(tool is other for _, other in self.tools) > 1:
            return None
        verb = [rest[0].raw] if rest and rest[0].value in tool.verbs else []
        words, notes = arguments(tool, rest[len(verb) :], self.port)
        self.notes += notes
        return " ".join([*assignments(tool.variables, self.port), *start, *verb, *words])

    def with_variables(self, program: str, rest: tuple[Word, ...]) -> str | None:
        """`cross-env` and `env`: the shell can set the variables itself."""
        at = 0
        while at < len(rest) and _ASSIGNMENT.match(rest[at].value or rest[at].raw):
            at += 1
        if at == len(rest) or (rest[at].value or "").startswith("-"):
            return None
        variables = [word.raw for word in rest[:at]]
        if program == "cross-env-shell":
            inner = " ".join(word.raw if word.value is None else word.value for word in rest[at:])
            exported = f"export {' '.join(variables)}; " if variables else ""
            return f"{{ {exported}{_group(self.text(inner))}; }}"
        new = self.command(rest[at:])
        return None if new is None else " ".join([*variables, new])

    def wrapped(self, program: str, first: Word, rest: tuple[Word, ...]) -> str | None:
        """A program that sets variables and runs the command after its own flags."""
        at = self.after_flags(rest, _VALUE_FLAGS.get(program, frozenset()))
        if program == "dotenvx" and at < len(rest) and rest[at].value == "run":
            at += 1 + self.after_flags(rest[at + 1 :], frozenset({"-f", "--env-file"}))
        if program == "env-cmd" and at < len(rest) - 1 and _is_file(rest[at]):
            at += 1
        if at >= len(rest):
            return None
        new = self.command(rest[at:])
        if new is None:
            return None
        if _ASSIGNMENT.match(new):  # it runs a program, not a shell
            new = f"env {new}"
        if any(mark in new for mark in ("&&", "{ ")):
            new = f"sh -c {quoted(new)}"
        return " ".join([first.raw, *(word.raw for word in rest[:at]), new])

    def executed(self, start: list[str], rest: tuple[Word, ...]) -> str | None:
        """`npx` and the like: a known program is run from the app's own packages, so npx cannot ask to install it."""
        at = self.after_flags(rest, _VALUE_FLAGS["npx"])
        if at >= len(rest) or rest[at].value is None:
            return None
        new = self.command(rest[at:])
        if new is None or known.by_program(_name(rest[at].value or ""), _value(rest, at + 1)) is not None:
            return new
        unchanged = new.startswith(rest[at].raw)
        return " ".join([*start, *(word.raw for word in rest[:at]), new]) if unchanged else new

    def concurrently(self, first: Word, rest: tuple[Word, ...]) -> str | None:
        new, skip = [first.raw], False
        for word in rest:
            value = word.value
            if skip or value is None or value.startswith("-"):
                new.append(word.raw)
                skip = not skip and value in _VALUE_FLAGS["concurrently"]
                continue
            shortcut = re.fullmatch(r"(npm|pnpm|yarn|bun|node):(\S+)(.*)", value)
            inner = self.pattern(shortcut[2], shortcut[3]) if shortcut else None
            if inner is not None:
                new += [quoted(text) for text in inner]
            else:
                text = self.text(value)
                new.append(word.raw if text == value else quoted(text))
        return " ".join(new)

    def pattern(self, pattern: str, more: str = "") -> list[str] | None:
        """The texts of the scripts that match a pattern of npm-run-all or concurrently; None if none does."""
        names = _matching(pattern, self.package.scripts)
        if not names or len(self.inside) >= DEPTH or any(name in self.inside for name in names):
            return None
        words = tuple(more.split())
        return [self.script(name, words, self.package.scripts[name]) for name in names]

    def run_all(self, program: str, rest: tuple[Word, ...]) -> str | None:
        """The named scripts, in parallel or one after the other. In parallel, the one that serves comes last, in the
        foreground: when it exits, all of them end.
        """
        parallel = program == "run-p"
        groups: list[tuple[bool, list[tuple[bool, str]]]] = [(parallel, [])]
        for word in rest:
            value = word.raw if word.value is None else word.value  # a pattern does not match files here
            if value == "--":
                break
            if value in {"-p", "--parallel", "-s", "--sequential", "--serial"}:
                groups.append((value in {"-p", "--parallel"}, []))
            elif not value.startswith("-"):
                name, _, more = value.partition(" ")
                before = len(self.tools), self.own_server
                texts = self.pattern(name, more)
                if texts is None:
                    return None
                serves = (len(self.tools), self.own_server) != before
                groups[-1][1].extend((serves, text) for text in texts)
        parts = []
        for side_by_side, members in groups:
            ordered = sorted(members, key=lambda member: member[0]) if side_by_side else members
            joined = [_group(text) for _, text in ordered]
            if not joined:
                continue
            if side_by_side and not any(serves for serves, _ in ordered):
                parts.append("{ " + " & ".join(joined) + " & wait; }")
            else:
                parts.append("{ " + (" & " if side_by_side else " && ").join(joined) + "; }")
        return " && ".join(parts) if parts else None

    def is_runtime(self, program: str, rest: tuple[Word, ...]) -> bool:
        if program != "bun":
            return True
        at = self.after_flags(rest, frozenset())
        return at < len(rest) and _is_file(rest[at])

    def runtime(self, program: str, first: Word, rest: tuple[Word, ...]) -> str | None:
        """`node` and the like with a file: the script of a known program, or a server that the app brings itself."""
        if program == "node" and rest[0].value == "--run" and len(rest) > 1:
            return self.scripts_text(rest[1].value, rest[2:])
        flags = _RUNTIME_VALUE_FLAGS | ({"--watch"} if program == "nodemon" else set())
        at = self.after_flags(rest, flags)
        if program in {"tsx", "nodemon", "bun"} and at < len(rest) and rest[at].value in {"watch", "run"}:
            at += 1 + self.after_flags(rest[at + 1 :], _RUNTIME_VALUE_FLAGS)
        if at >= len(rest) or rest[at].value is None:
            return None
        file = rest[at].value or ""
        if "node_modules/" in file:
            return self.tool_of(_name(file), [first.raw, *(word.raw for word in rest[: at + 1])], rest[at + 1 :])
        if program != "node" and not _is_file(rest[at]):
            return None
        self.own_server = True
        watches = program != "node" or any((word.value or "").startswith("--watch") for word in rest[:at])
        self.entry = None if watches else file.removeprefix("./")
        return None

    def manager(self, program: str, first: Word, rest: tuple[Word, ...]) -> str | None:
        if any((word.value or "").partition("=")[0] in _ELSEWHERE for word in rest):
            return None
        at = self.after_flags(rest, frozenset())
        if at >= len(rest):
            return None
        verb = rest[at].value
        if verb in _EXEC[program]:
            return self.executed([first.raw, rest[at].raw], rest[at + 1 :])
        if verb in _RUN:
            at += 1 + self.after_flags(rest[at + 1 :], frozenset())
            return self.scripts_text(rest[at].value, rest[at + 1 :]) if at < len(rest) else None
        if program not in _SHORT:
            return self.scripts_text(verb, rest[at + 1 :]) if verb in {"start", "test"} else None
        found = self.scripts_text(verb, rest[at + 1 :])
        return self.command(rest[at:]) if found is None else found

    def scripts_text(self, name: str | None, more: tuple[Word, ...]) -> str | None:
        text = self.package.scripts.get(name or "")
        if name is None or text is None or name in self.inside or len(self.inside) >= DEPTH:
            return None
        words = more[1:] if more and more[0].value == "--" else more
        return _group(self.script(name, tuple(word.raw for word in words), text))

    @staticmethod
    def after_flags(words: tuple[Word, ...], with_value: frozenset[str]) -> int:
        """How many of the first words are flags, their values, or the `--` that ends them."""
        at = 0
        while at < len(words) and (words[at].value or words[at].raw).startswith("-"):
            if words[at].value == "--":
                return at + 1
            at += 2 if words[at].value in with_value else 1
        return at


def _group(text: str) -> str:
    """`text` as one command of a larger line: in braces, unless it is one simple command."""
    try:
        line = scan(text)
    except Unreadable:
        return text
    if len(line.commands) == 1 and not line.operators and not line.commands[0].redirected:
        return text
    end = "" if text.rstrip().endswith(("&", ";")) else ";"
    return f"{{ {text.strip()}{end} }}"


def _matching(pattern: str, scripts: Mapping[str, str]) -> list[str]:
    """The names that match a pattern of npm-run-all: `*` does not match a colon, `**` does."""
    if pattern.count("*") > STARS:
        return []  # bounds the time that matching takes
    if "*" not in pattern:
        return [pattern] if pattern in scripts else []
    if "**" in pattern:
        return [name for name in scripts if fnmatch.fnmatchcase(name, pattern.replace("**", "*"))]
    form = re.compile(re.escape(pattern).replace(r"\*", "[^:]*"))
    return [name for name in scripts if form.fullmatch(name)]


def _value(words: tuple[Word, ...], at: int) -> str | None:
    return words[at].value if at < len(words) else None


def _name(program: str) -> str:
    """`vite` of `./node_modules/.bin/vite` and of `vite@latest`."""
    name = program.rpartition("/")[2]
    return name.partition("@")[0] or name


def _is_file(word: Word) -> bool:
    return re.search(r"[/.]", word.value or "") is not None
