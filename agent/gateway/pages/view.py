"""What the waking and the failed page say, computed from the facts. Pure.

The first page and every later event are made from the same View, so a page shows the same thing whenever it was opened.
Log lines and messages are untrusted text: escape sequences are removed here, and HTML is escaped where they are shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from agent.gateway.policy.routing import is_hung_route
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
class Milestone:
    """One row of the waking page: a stage on the way to the app."""

    name: str
    label: str
    state: StepState
    detail: str = ""
    """What is known beyond the state, such as a number of files."""


@dataclass(frozen=True, slots=True)
class View:
    kind: Kind
    title: str
    sentence: str
    """What is happening, or what is wrong and why."""
    steps: tuple[Milestone, ...] = ()
    proof: tuple[str, ...] = ()
    """The lines of output that show what is wrong, oldest first."""
    advice: str = ""
    """What to do about it."""
    code: str = ""
    """The code of the problem that stands in the way (problem_codes.py)."""


def view(now: Snapshot, lines: list[str], path: str = "/") -> View:
    """What the page at `path` shows. `lines`: the dev server's output, oldest first; only the failed page shows it."""
    if is_hung_route(path, now) and blocked(now) is None and not now.stopping:
        return _hung_route(path)
    if now.dev_server.state in {"ready", "unresponsive"} and not now.stopping:
        return View("ready", "Your app is ready", "Opening it now.")
    if blocked(now) is not None:
        return replace(_failed(now, lines), code=_code(now))
    return View("waking", "Waking up your preview", _waking_sentence(now), _milestones(now))


def plain(line: str) -> str:
    """One line of output without escape sequences and control characters, cut at LINE_LENGTH."""
    text = _CONTROL.sub("", line)
    return text if len(text) <= LINE_LENGTH else f"{text[:LINE_LENGTH]} …"


def _failed(now: Snapshot, lines: list[str]) -> View:
    """The page for what `blocked` reports. The causes are checked in the order of `blocked`: the first is the root."""
    failure, dev, install = now.sync.failure, now.dev_server, now.install
    if failure is not None and blocked(now) == failure.message and dev.state in {"waiting", "stopped"}:
        title, advice = _BACKEND_REFUSALS.get(failure.code, ("The app's files cannot be fetched", ""))
        return View("failed", title, _as_sentence(failure.message), proof=_sync_proof(now), advice=advice)
    if install.blocks:
        first = next((problem for problem in now.problems if problem.source == "install"), None)
        if first is not None and first.line is not None:
            return _broken_file(first)
        message = install.reason or "The packages could not be installed."
        title, _, reason = message.partition(":\n")
        if reason:
            return _from_lines(plain(title), reason, _INSTALL_ADVICE)
        return _from_lines("The packages could not be installed", message, _INSTALL_ADVICE)
    if now.broken:
        return _broken_file(now.broken[0])
    never_ready = dev.ready_at is None or dev.error is not None
    title = "The dev server could not be started" if never_ready else "The dev server keeps stopping"
    if dev.error is not None:
        error = dev.error
        proof = tuple(plain(line) for line in error.details)
        return View("failed", title, _error_line(error.headline), proof=proof, advice=plain(error.advice or ""))
    others = tuple(problem for problem in now.problems if problem.source != "dev_server")
    if dev.waits_for_files:
        proof = tuple(_problem_lines(others))
        return View("failed", "The app cannot be started", _as_sentence(dev.reason), proof=proof, advice=_FILES_ADVICE)
    proof = (*_problem_lines(others), *(plain(line) for line in lines if plain(line).strip()))
    return View("failed", title, _as_sentence(dev.reason), proof=proof[-PROOF_LINES:], advice=_FILES_ADVICE)


_BACKEND_REFUSALS = {
    "unauthorized": (
        "The backend does not accept this machine's key",
        "The backend has to accept this machine's key for this app. The preview keeps trying.",
    ),
    "no_such_app": (
        "The backend does not know this app",
        "APP_ID has to name an app that exists in the backend. The preview keeps trying.",
    ),
}
_INSTALL_ADVICE = "The packages are installed again as soon as package.json or a lock file changes."
_FILES_ADVICE = "The dev server is started again as soon as the app's files change."


def _broken_file(problem: Problem) -> View:
    title = f"{problem.file} cannot be read" if problem.file and problem.line else "The app cannot be started"
    return _from_lines(plain(title), problem.message, "Correct the file: the preview then goes on by itself.")


def _from_lines(title: str, text: str, advice: str) -> View:
    """A failed page whose sentence is the first line of `text`, and whose proof are the other lines."""
    first, *others = [plain(line) for line in text.splitlines() if line.strip()] or ["No reason was given."]
    if others and (code := _CODE.fullmatch(first)):  # npm prints the code before the message
        first, *others = f"{others[0]} ({code['code']})", *others[1:]
    return View("failed", title, _error_line(first), proof=tuple(others[:PROOF_LINES]), advice=advice)


def _code(now: Snapshot) -> str:
    """The code of what `blocked` reports, in the same order of causes."""
    failure, dev = now.sync.failure, now.dev_server
    if failure is not None and blocked(now) == failure.message and dev.state in {"waiting", "stopped"}:
        return failure.code.replace("_", "-")
    if now.install.blocks:
        return next((problem.code for problem in now.problems if problem.source == "install"), "install-failed")
    if now.broken:
        return now.broken[0].code
    return "cannot-start" if dev.waits_for_files else "dev-server-failed"


def _hung_route(path: str) -> View:
    route = plain(path)
    sentence = (
        f"Rendering {route} never ended and kept the dev server from answering any other page, so the dev server was "
        "restarted. All other pages work."
    )
    advice = (
        f"Look for an endless loop in the page or in a component that it uses. {route} is rendered again as soon as a "
        "file of the app changes."
    )
    return View("failed", f"{route} never finishes", sentence, advice=advice, code="page-hangs")


def _sync_proof(now: Snapshot) -> tuple[str, ...]:
    failure = now.sync.failure
    if failure is None:
        return ()
    tries = "1 try" if failure.tries == 1 else f"{failure.tries} tries"
    history = f"app {plain(now.app_id)}: {failure.code} since {failure.since}, {tries}"
    return (history, f"next try at {failure.next_try_at}") if failure.next_try_at else (history,)


def _problem_lines(problems: tuple[Problem, ...]) -> list[str]:
    shown = []
    for problem in problems:
        place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part is not None)
        text = f"{place}: {problem.message}" if place else problem.message
        shown += [plain(line) for line in text.splitlines()]
    return shown


def _waking_sentence(now: Snapshot) -> str:
    state = now.dev_server.state
    if now.stopping:
        return "This machine is stopping. It starts again when somebody opens the app."
    if now.sync.failure is not None and now.sync.applied_at is None:
        return (
            f"The app's files could not be fetched yet: {_with_full_stop(now.sync.failure.message)} It is tried again."
        )
    if now.install.state == "running":
        manager = f" with {now.install.manager}" if now.install.manager else ""
        return f"The app's packages are being installed{manager}. Then the dev server starts."
    if now.sync.applied_at is None:
        return "The app's files are being fetched."
    if state == "restarting":
        return f"The dev server is restarting: {_with_full_stop(now.dev_server.reason)}"
    if state == "starting":
        return "The dev server is compiling the first page. Your app appears here as soon as it is done."
    return f"The app's files are in place. The dev server has not started yet: {_with_full_stop(now.dev_server.reason)}"


def _milestones(now: Snapshot) -> tuple[Milestone, ...]:
    synced, dev = now.sync.applied_at is not None, now.dev_server
    started = dev.state in {"starting", "restarting"}
    install = now.install
    packages = Milestone("dependencies", "Dependencies", "done" if started else "active" if synced else "waiting")
    if install.state == "running":
        detail = " ".join(part for part in (install.manager, plain(install.progress or "")) if part)
        packages = replace(packages, state="active", detail=detail)
    elif install.state == "failed":
        packages = replace(packages, state="trouble", detail=plain((install.reason or "").partition("\n")[0]))
    compiling = dev.state == "starting" and dev.compiling
    return (
        Milestone("machine", "Machine started", "done"),
        Milestone("files", "Files", _files_state(now), _files_detail(now)),
        packages,
        Milestone("server", "Dev server", "done" if compiling else "active" if started else "waiting"),
        Milestone("compile", "First compile", "active" if compiling else "waiting"),
    )


def _files_state(now: Snapshot) -> StepState:
    if now.sync.applied_at is not None or now.install.state == "running":  # it starts only when the files are in place
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


def _as_sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    sentence = _with_full_stop(text)
    return sentence[0].upper() + sentence[1:]


def _error_line(text: str) -> str:
    """One line as it was printed. A capital letter or a full stop would look like a part of the error."""
    return plain(text).strip()


def _with_full_stop(text: str) -> str:
    """`text` as the end of a sentence: one line with a full stop."""
    sentence = " ".join(plain(line) for line in text.splitlines()).strip() or "no reason was given"
    return sentence if sentence[-1] in ".!?…" else f"{sentence}."
