"""What the pages say, and that strangers' text stays text."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import get_args

import orjson
from hypothesis import given
from hypothesis import strategies as st

from agent.error_line import ErrorLine
from agent.gateway.pages.render import encode, render
from agent.gateway.pages.view import LINE_LENGTH, View, plain, view
from agent.status import DevServerFacts, DevServerState, Failure, InstallFacts, Problem, Snapshot, SyncFacts

NEW = Snapshot("app-1", "machine-1", "2026-01-01T00:00:00.000Z", "0.1.0")
SYNCED = SyncFacts(state="current", files=1234, applied_at="2026-01-01T00:00:01.000Z")


def steps(now: Snapshot) -> dict[str, tuple[str, str]]:
    return {step.name: (step.state, step.detail) for step in view(now, []).steps}


def test_milestones_are_what_happened() -> None:
    assert steps(NEW)["machine"] == ("done", "")
    assert steps(NEW)["files"] == ("active", "asking")
    assert steps(replace(NEW, sync=SyncFacts(progress=(3, None))))["files"] == ("active", "3")
    assert steps(replace(NEW, sync=SyncFacts(progress=(3, 5000))))["files"] == ("active", "3 of 5,000")
    failing = SyncFacts(failure=Failure("unreachable", "no route", "2026-01-01T00:00:00.000Z", 4, None))
    assert steps(replace(NEW, sync=failing))["files"] == ("trouble", "4 tries")
    waiting = replace(NEW, sync=SYNCED, dev_server=DevServerFacts(reason="installing packages"))
    assert steps(waiting)["files"] == ("done", "1,234")
    assert steps(waiting)["dependencies"][0] == "active"
    assert (
        view(waiting, []).sentence
        == "The app's files are in place. The dev server has not started yet: installing packages."
    )
    starting = replace(NEW, sync=SYNCED, dev_server=DevServerFacts(state="starting"))
    assert (steps(starting)["dependencies"][0], steps(starting)["server"][0]) == ("done", "active")
    compiling = replace(NEW, sync=SYNCED, dev_server=DevServerFacts(state="starting", compiling=True))
    assert (steps(compiling)["server"][0], steps(compiling)["compile"][0]) == ("done", "active")


def test_the_packages_are_a_milestone_of_their_own() -> None:
    waiting = replace(NEW, sync=SYNCED, dev_server=DevServerFacts(reason="its packages are being installed with npm"))
    running = replace(waiting, install=InstallFacts("running", "npm", progress="12 fetched"))
    assert steps(running)["dependencies"] == ("active", "npm 12 fetched")
    installing = "The app's packages are being installed with npm. Then the dev server starts."
    assert view(running, []).sentence == installing
    first = replace(running, sync=SyncFacts(progress=(1234, 1234)))
    assert (view(first, []).sentence, steps(first)["files"][0]) == (installing, "done")
    starting = replace(running, dev_server=DevServerFacts(state="starting"), install=InstallFacts("idle", "npm"))
    assert steps(starting)["dependencies"] == ("done", "")


@given(st.sampled_from(get_args(DevServerState)), st.booleans(), st.booleans())
def test_every_state_has_something_to_say(state: DevServerState, synced: bool, stopping: bool) -> None:  # noqa: FBT001
    now = replace(NEW, dev_server=DevServerFacts(state=state), stopping=stopping, sync=SYNCED if synced else NEW.sync)
    shown = view(now, [])
    assert shown.title
    assert shown.sentence[-1] in ".!?"
    assert [step.name for step in shown.steps] == (
        ["machine", "files", "dependencies", "server", "compile"] if shown.kind == "waking" else []
    )
    assert sum(step.state == "active" for step in shown.steps) <= 2


def test_a_failure_is_a_sentence_and_the_lines_that_prove_it() -> None:
    now = replace(
        NEW,
        sync=SYNCED,
        dev_server=DevServerFacts(state="failed", reason="it ended 5 times in 2 minutes"),
        problems=(Problem("compile", "Unexpected token", "next.config.ts", 3, 7),),
    )
    shown = view(now, ["", "\x1b[31mError:\x1b[39m broken"])
    assert shown.kind == "failed"
    assert shown.sentence == "It ended 5 times in 2 minutes."
    assert shown.proof == ("next.config.ts:3:7: Unexpected token", "Error: broken")


def test_a_failed_installation_is_the_page_and_leads_with_what_the_manager_named() -> None:
    waiting = DevServerFacts(reason="its packages could not be installed")
    reason = "npm could not install the packages:\ncode E404\n\x1b[31m404 Not Found - no-such-package"
    failed = replace(
        NEW, sync=SYNCED, dev_server=waiting, install=InstallFacts("failed", "npm", reason=reason, blocks=True)
    )
    shown = view(failed, ["never mind"])
    assert shown.kind == "failed"
    assert shown.title == "npm could not install the packages"
    assert (shown.sentence, shown.proof) == ("404 Not Found - no-such-package (E404)", ())
    going_on = replace(failed, install=InstallFacts("running", "npm"))
    assert view(going_on, []).kind == "waking"
    assert view(replace(failed, dev_server=DevServerFacts(state="ready")), []).kind == "ready"


def test_a_file_that_cannot_be_read_is_the_page_with_its_line() -> None:
    message = 'package.json line 1, column 12: a comma before "}"\n{"name":"x",}\n           ^'
    broken = Problem("install", message, "package.json", 1, 12)
    now = replace(NEW, sync=SYNCED, install=InstallFacts("failed", reason=message, blocks=True), problems=(broken,))
    shown = view(now, [])
    assert (shown.kind, shown.title) == ("failed", "package.json cannot be read")
    assert shown.sentence == 'package.json line 1, column 12: a comma before "}"'
    assert shown.proof == ('{"name":"x",}', "           ^")
    tsconfig = replace(broken, source="dev_server", file="tsconfig.json")
    starting = replace(NEW, sync=SYNCED, dev_server=DevServerFacts(state="starting"), broken=(tsconfig,))
    assert view(starting, []).title == "tsconfig.json cannot be read"


def test_what_only_a_change_of_files_brings_is_not_waited_for() -> None:
    waits = DevServerFacts(reason="no app was found", waits_for_files=True)
    now = replace(NEW, sync=SYNCED, dev_server=waits)
    assert (view(now, []).kind, view(now, []).sentence) == ("failed", "No app was found.")
    assert view(replace(now, dev_server=replace(waits, waits_for_files=False)), []).kind == "waking"


def test_the_page_leads_with_the_error_and_not_with_the_exit_status() -> None:
    error = ErrorLine("Error: Cannot find module 'ms'", "next.config.ts", ("> 1 | import",), "Add ms to package.json.")
    dev = DevServerFacts(state="restarting", reason="it exited with status 1", error=error)
    shown = view(replace(NEW, sync=SYNCED, dev_server=dev), ["the log"])
    assert (shown.kind, shown.title) == ("failed", "The dev server could not be started")
    assert shown.sentence == "Error: Cannot find module 'ms' (next.config.ts)"
    assert (shown.advice, shown.proof) == ("Add ms to package.json.", ("> 1 | import",))


@given(st.text(max_size=80))
def test_a_line_loses_its_controls_and_nothing_else(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", plain(text))
    letters = re.sub(r"[\x00-\x1f\x7f-\x9f]", "", text)
    assert plain(letters) == letters


def test_a_line_loses_colours_links_and_its_endless_end() -> None:
    assert plain("\x1b[1;38;5;9mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x1b\\ \x1b[?25hok\r") == "red link ok"
    assert len(plain("x" * 10_000)) == LINE_LENGTH + 2


STRANGE = st.one_of(
    st.text(max_size=60), st.sampled_from(["</script><script>alert(1)</script>", "<!--", "$title", "${x}", "\udcff"])
)


@given(STRANGE, STRANGE, st.lists(STRANGE, max_size=3))
def test_whatever_is_said_is_shown_as_text_and_never_as_a_page(title: str, sentence: str, proof: list[str]) -> None:
    for kind in ("waking", "failed"):
        page = render(View(kind, title, sentence, proof=tuple(proof)), elapsed=1.0, self_reference="./").body.decode()
        blank = render(
            View(kind, "", "", proof=tuple("" for _ in proof)), elapsed=1.0, self_reference="./"
        ).body.decode()
        assert re.findall(r"<[/!a-z][a-z]*", page) == re.findall(r"<[/!a-z][a-z]*", blank)
        shown = html.unescape(page.partition("<h1")[2].partition(">")[2].partition("</h1>")[0])
        assert shown == title.encode("utf-8", "replace").decode()


@given(STRANGE, STRANGE)
def test_the_script_reads_the_same_view_that_the_page_shows(title: str, line: str) -> None:
    shown = View("failed", title, "It failed.", proof=(line,))
    page = render(shown, elapsed=2.0, self_reference="./").body.decode()
    data = page.partition('id="view">')[2].partition("</script>")[0]
    assert orjson.loads(data) == orjson.loads(encode(shown, elapsed=2.0))


def test_every_page_has_a_nonce_of_its_own() -> None:
    shown = View("waking", "a", "b.")
    assert render(shown, elapsed=0, self_reference="./").policy != render(shown, elapsed=0, self_reference="./").policy


def test_a_failed_page_has_the_code_of_the_problem_that_stands_in_the_way() -> None:
    """Of several causes, the one that `blocked` reports."""
    peers = Problem("install", "they contradict each other", code="peer-conflict")
    install = InstallFacts("failed", "npm", reason="npm could not install", blocks=True)
    failed = replace(NEW, sync=SYNCED, install=install, problems=(peers,))
    assert view(failed, []).code == "peer-conflict"
    assert view(replace(failed, problems=()), []).code == "install-failed"
    two = Problem("dev_server", "both are there", "middleware.ts", code="two-proxies")
    assert view(replace(NEW, sync=SYNCED, broken=(two,)), []).code == "two-proxies"
    waits = DevServerFacts(reason="no app was found", waits_for_files=True)
    assert view(replace(NEW, sync=SYNCED, dev_server=waits), []).code == "cannot-start"
    gave_up = DevServerFacts(state="failed", reason="it ended 5 times")
    assert view(replace(NEW, sync=SYNCED, dev_server=gave_up), []).code == "dev-server-failed"
    assert view(NEW, []).code == ""
