"""What is true now → what the waking and the failed page say. Pure.

The first page and every later event are made of the same View, so that a page that was opened early and one that was
opened late show the same thing. Log lines and messages are strangers' text: here they lose their colours, whoever
shows them escapes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from agent.gateway.policy.routing import kept_away
from agent.status import Problem, Snapshot, blocked

Kind = Literal["waking", "failed", "ready"]
StepState = Literal["waiting", "active", "done", "trouble"]

PROOF_LINES = 40
LINE_LENGTH = 2000

# CSI and OSC sequences, the two-character escapes, and every other control character but the tab.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)
_CODE = re.compile(r"code (?P<code>\w+)")


@dataclass(frozen=True, slots=True)
class Step:
    """One milestone on the way to the app. `detail` is what is known beyond its state, or empty."""

    name: str
    label: str
    state: StepState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """`sentence` says what is going on or what is wrong, `advice` what mends it; `proof` are the lines that show it,
    oldest first.
    """

    kind: Kind
    title: str
    sentence: str
    steps: tuple[Step, ...] = ()
    proof: tuple[str, ...] = ()
    advice: str = ""


def view(now: Snapshot, lines: list[str], path: str = "/") -> View:
    """Of the page `path`. `lines` is the dev server's output, oldest first; only the failed page shows any of it."""
    if kept_away(path, now) and blocked(now) is None and not now.stopping:
        return _hung(path)
    if now.dev_server.state in {"ready", "unresponsive"} and not now.stopping:
        return View("ready", "Your app is ready", "Opening it now.")
    if blocked(now) is not None:
        return _failed(now, lines)
    return View("waking", "Waking up your preview", _sentence(now), _steps(now))


def plain(line: str) -> str:
    """One line of output as text: no colours, no cursor movements, not endless."""
    text = _CONTROL.sub("", line)
    return text if len(text) <= LINE_LENGTH else f"{text[:LINE_LENGTH]} …"


def _failed(now: Snapshot, lines: list[str]) -> View:
    """The page for what `blocked` says, which looks at the causes in this order too: the first is the root."""
    failure, dev, install = now.sync.failure, now.dev_server, now.install
    if failure is not None and blocked(now) == failure.message and dev.state in {"waiting", "stopped"}:
        titles = {
            "unauthorized": "The backend does not accept this machine's key",
            "no_such_app": "The backend does not know this app",
        }
        title = titles.get(failure.code, "The app's files cannot be fetched")
        return View("failed", title, _closed(failure.message), proof=_of_sync(now))
    if install.blocks:
        first = next((problem for problem in now.problems if problem.source == "install"), None)
        if first is not None and first.line is not None:
            return _of_file(first)
        said = install.reason or "The packages could not be installed."
        title, _, reason = said.partition(":\n")
        if reason:
            return _of_lines(plain(title), reason)
        return _of_lines("The packages could not be installed", said)
    if now.broken:
        return _of_file(now.broken[0])
    never_came = dev.ready_at is None or dev.error is not None
    title = "The dev server could not be started" if never_came else "The dev server keeps stopping"
    if dev.error is not None:
        error = dev.error
        proof = tuple(plain(line) for line in error.details)
        return View("failed", title, _headline(error.headline), proof=proof, advice=plain(error.advice or ""))
    others = tuple(problem for problem in now.problems if problem.source != "dev_server")
    if dev.waits_for_files:
        return View("failed", "The app cannot be started", _closed(dev.reason), proof=tuple(_problems(others)))
    proof = (*_problems(others), *(plain(line) for line in lines if plain(line).strip()))
    return View("failed", title, _closed(dev.reason), proof=proof[-PROOF_LINES:])


def _of_file(problem: Problem) -> View:
    title = f"{problem.file} cannot be read" if problem.file and problem.line else "The app cannot be started"
    return _of_lines(plain(title), problem.message)


def _of_lines(title: str, text: str) -> View:
    """The first line of `text` is the sentence, and the others prove it."""
    first, *others = [plain(line) for line in text.splitlines() if line.strip()] or ["No reason was given."]
    if others and (code := _CODE.fullmatch(first)):  # npm puts it before the words
        first, *others = f"{others[0]} ({code['code']})", *others[1:]
    return View("failed", title, _headline(first), proof=tuple(others[:PROOF_LINES]))


def _hung(path: str) -> View:
    route = plain(path)
    sentence = (
        f"Rendering {route} kept the dev server busy without an end, so that no other page was answered and the server "
        f"had to be restarted. {route} is not rendered again until a file of the app changes: look for a loop that "
        "never ends in its page or in a component that it shows. All other pages work."
    )
    return View("failed", f"{route} never finishes", sentence)


def _of_sync(now: Snapshot) -> tuple[str, ...]:
    failure = now.sync.failure
    if failure is None:
        return ()
    tries = "1 try" if failure.tries == 1 else f"{failure.tries} tries"
    asked = f"app {plain(now.app_id)}: {failure.code} since {failure.since}, {tries}"
    following = (f"next try at {failure.next_try_at}",) if failure.next_try_at else ()
    return (asked, *following)


def _problems(problems: tuple[Problem, ...]) -> list[str]:
    shown = []
    for problem in problems:
        place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part is not None)
        text = f"{place}: {problem.message}" if place else problem.message
        shown += [plain(line) for line in text.splitlines()]
    return shown


def _sentence(now: Snapshot) -> str:
    state = now.dev_server.state
    if now.stopping:
        return "This machine is about to stop. It starts again when somebody asks for the app."
    if now.sync.failure is not None and now.sync.applied_at is None:
        return f"The app's files cannot be fetched yet: {_ended(now.sync.failure.message)}"
    if now.install.state == "running":
        manager = f" with {now.install.manager}" if now.install.manager else ""
        return f"The app's packages are being installed{manager}. Then the dev server starts."
    if now.sync.applied_at is None:
        return "The app's files are on their way to this machine."
    if state == "restarting":
        return f"The dev server is starting again: {_ended(now.dev_server.reason)}"
    if state == "starting":
        return "The dev server is compiling the first page. This page turns into your app when it is done."
    return f"The files are here. The dev server waits: {_ended(now.dev_server.reason)}"


def _steps(now: Snapshot) -> tuple[Step, ...]:
    synced, dev = now.sync.applied_at is not None, now.dev_server
    started = dev.state in {"starting", "restarting"}
    install = now.install
    packages = Step("dependencies", "Dependencies", "done" if started else "active" if synced else "waiting")
    if install.state == "running":
        detail = " ".join(part for part in (install.manager, plain(install.progress or "")) if part)
        packages = replace(packages, state="active", detail=detail)
    elif install.state == "failed":
        packages = replace(packages, state="trouble", detail=plain((install.reason or "").partition("\n")[0]))
    compiling = dev.state == "starting" and dev.compiling
    return (
        Step("machine", "Machine started", "done"),
        Step("files", "Files", _files_state(now), _files_detail(now)),
        packages,
        Step("server", "Dev server", "done" if compiling else "active" if started else "waiting"),
        Step("compile", "First compile", "active" if compiling else "waiting"),
    )


def _files_state(now: Snapshot) -> StepState:
    if now.sync.applied_at is not None or now.install.state == "running":  # the files are in place then
        return "done"
    return "trouble" if now.sync.failure is not None else "active"


def _files_detail(now: Snapshot) -> str:
    if now.sync.applied_at is not None:
        return f"{now.sync.files:,}"
    if now.sync.failure is not None:
        return "1 try" if now.sync.failure.tries == 1 else f"{now.sync.failure.tries} tries"
    if now.sync.progress is None:
        return "asking"
    staged, expected = now.sync.progress
    return f"{staged:,}" if expected is None else f"{staged:,} of {expected:,}"


def _closed(text: str) -> str:
    """`text` as a sentence of its own."""
    said = _ended(text)
    return said[0].upper() + said[1:]


def _headline(text: str) -> str:
    """One line as it was printed: a capital letter or a full stop would be read as part of the error."""
    return plain(text).strip()


def _ended(text: str) -> str:
    """`text` as the end of a sentence: one line with a full stop."""
    said = " ".join(plain(line) for line in text.splitlines()).strip() or "no reason was given"
    return said if said[-1] in ".!?…" else f"{said}."
