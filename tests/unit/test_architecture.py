"""The house rules that a machine can check: who may import whom, what decides, what must not be written at all.

ARCHITECTURE.md says why. A rule that is in the way is changed here, in the open, with its reason.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What decides, and what it decides. These are pure: `now` and chance are arguments, the result is a value.
DECIDING = {
    "agent/other_projects.py": "which files say that a folder is no web app",
    "agent/package_files.py": "which files name packages",
    "agent/json_errors.py": "where a JSON file is broken",
    "agent/app_files/review.py": "what the app's files say before anything reads them",
    "agent/error_line.py": "which line of an output names the error",
    "agent/app_paths.py": "how a path of the app is shown",
    "agent/sync/wire.py": "what a backend's bytes mean",
    "agent/sync/paths.py": "what may be written",
    "agent/sync/gather.py": "what of an answer is refused",
    "agent/sync/plan.py": "which operations turn the disk into the set, or why not",
    "agent/sync/exchange.py": "what a request says, and what the head of its answer means",
    "agent/sync/pace.py": "what is asked next, and how long to pause",
    "agent/devserver/states.py": "what can be true of the dev server",
    "agent/devserver/lifecycle.py": "what follows from what, and what is done about it",
    "agent/devserver/transitions.py": "what each row of that table does",
    "agent/devserver/hung_route.py": "which page it hangs on",
    "agent/gateway/waiting.py": "which requests wait for it",
    "agent/devserver/rules.py": "what a changed file means",
    "agent/devserver/shell_words.py": "which words and commands a line of shell has",
    "agent/devserver/command_line.py": "which flags a dev server is given",
    "agent/devserver/dev_script.py": "what a script serves, on our port",
    "agent/devserver/app_dir.py": "which folder holds the app",
    "agent/devserver/app_command.py": "what is run",
    "agent/devserver/address.py": "where an app's first page is",
    "agent/devserver/frameworks/framework.py": "what a framework is",
    "agent/devserver/frameworks/nextjs.py": "what Next.js is",
    "agent/devserver/frameworks/vite.py": "what Vite is",
    "agent/devserver/frameworks/vite_lines.py": "what Vite's output says",
    "agent/devserver/frameworks/astro.py": "what Astro is",
    "agent/devserver/frameworks/custom.py": "how other dev servers are given a port",
    "agent/devserver/frameworks/known.py": "which framework an app is made with",
    "agent/packages/adoption.py": "whether a tree that nobody remembers is the wanted one",
    "agent/packages/causes.py": "why a package manager failed",
    "agent/packages/completion.py": "what a TypeScript app on Next needs and does not name",
    "agent/packages/course.py": "whether packages are installed before or after the sources",
    "agent/packages/engines.py": "whether the running Node.js is one that the app asks for",
    "agent/packages/generators.py": "which install scripts read which files of the app",
    "agent/packages/managers.py": "how a package manager is called",
    "agent/packages/manifest.py": "package.json as values",
    "agent/packages/output.py": "what a package manager's output means",
    "agent/packages/semver.py": "whether a version is in a range",
    "agent/packages/skipped_builds.py": "which build scripts were not run",
    "agent/packages/toolchain.py": "which package manager, in which version",
    "agent/packages/wanted.py": "which packages are wanted",
    "agent/process/sample.py": "what a process tree costs",
    "agent/devserver/frames.py": "what the dev server's own socket says",
    "agent/devserver/facts.py": "what a state looks like from outside",
    "agent/isolation/child_environment.py": "what the dev server may know",
    "agent/isolation/sandbox.py": "what a command may do",
    "agent/devserver/memory.py": "how much memory there is",
    "agent/devserver/symptoms.py": "what the dev server says is wrong",
    "agent/devserver/configuration.py": "whether it has read what next.config says now",
    "agent/devserver/treatment.py": "what a repair is, and how often it may be done",
    "agent/devserver/repair.py": "which repair is due",
    "agent/text.py": "what is text and what is colour",
    "agent/gateway/routing.py": "what becomes of a request",
    "agent/gateway/classes.py": "what kind of activity a request is",
    "agent/gateway/headers.py": "which headers are passed on",
    "agent/gateway/http1.py": "what a head says",
    "agent/gateway/chunked.py": "where a chunked body ends",
    "agent/gateway/bodies.py": "where any body ends",
    "agent/gateway/pages/view.py": "what a page says",
    "agent/gateway/frames.py": "where a frame ends",
    "agent/gateway/answers.py": "the bytes of the gateway's own answers",
    "agent/sleep/idle.py": "when the machine sleeps",
    "agent/sleep/facts.py": "what the clock looks like from outside",
    "agent/gateway/injection.py": "which pages get the script, and where",
    "agent/gateway/websocket.py": "what the gateway's own socket says",
    "agent/gateway/presence.py": "what an open page says, and whether it may",
    "agent/gateway/landing.py": "where the asleep page leads",
    "agent/admin/view.py": "what /status and /events show",
    "agent/admin/access.py": "who may act",
    "agent/admin/peers.py": "whose a connection is",
    "agent/admin/exposition.py": "what Prometheus is told",
    "agent/report/body.py": "what the backend is told",
    "agent/report/answer.py": "what its answer means",
    "agent/report/schedule.py": "when it is told",
    "agent/sleep/gap.py": "whether the machine stood still",
    "agent/sleep/renewal.py": "how long a token lives, and when it is renewed",
    "control/dev/news.py": "what a preview's state looks like in a terminal",
    "control/body.py": "what a call says",
    "control/entries.py": "what a client may store",
    "control/negotiate.py": "which form of the answer a request gets",
}
WORLD = {
    "aiohttp",
    "asyncio",
    "os",
    "pathlib",
    "psutil",
    "random",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
}

# The only modules that know all rooms: what builds them, what looks at what they would meet, and the command line.
TOPS = {"agent.__main__", "agent.app", "agent.check", "agent.check_isolation", "agent.command"}
# What the control plane shares with the agent besides the leaves: the two ends of one contract.
SHARED = {"agent.sync.paths", "agent.sync.wire"}

# Rooms that every other room may stand on, and what they themselves may stand on.
LEAF_ROOMS: dict[str, set[str]] = {"isolation": set(), "process": {"isolation"}}

LINES = 400
VAGUE = re.compile(r"(^|_)(util|utils|common|helper|helpers|manager|handler|handlers|service|services|misc)(_|$)")
# A guard against heavy imports, some of which tests/integration/test_agent_footprint.py names.
# The budget itself (ARCHITECTURE.md, "Memory") is for the agent at rest.
IMPORTS_MIB = 45


def files(*tops: str) -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for top in tops
        for path in (ROOT / top).rglob("*.py")
        if "node_modules" not in path.parts
    )


PRODUCT = files("agent", "control")
EVERYTHING = files("agent", "control", "scripts", "tests")


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text("utf-8"), file)


def module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module(file) for file in PRODUCT}


def imports(file: str) -> Iterator[tuple[int, str]]:
    """Each imported thing by its full name, with its line: a module, or a name in one (`agent.clock.Clock`)."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are written from the top"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def imported_modules(file: str) -> Iterator[tuple[int, str]]:
    """The modules of the product that `file` imports."""
    for line, name in imports(file):
        owner = name if name in MODULES else name.rpartition(".")[0]
        if owner in MODULES:
            yield line, owner


def room(name: str) -> str | None:
    """The room a module of the agent lives in; None for the leaves and the tops."""
    parts = name.split(".")
    is_package = (ROOT / name.replace(".", "/")).is_dir()
    return parts[1] if len(parts) + is_package > 2 else None


@pytest.mark.parametrize("file", files("agent"))
def test_rooms_import_themselves_and_leaves_and_leaves_import_leaves(file: str) -> None:
    here = module(file)
    if here in TOPS:
        return
    for line, name in imported_modules(file):
        where = f"{file}:{line} imports {name}"
        assert name not in TOPS, f"{where}: only the command line starts the whole"
        assert not name.startswith("control"), f"{where}: the image does not carry the backend's side"
        if name.startswith("agent.") and room(name) is not None:
            allowed = {room(here), *LEAF_ROOMS.get(room(here) or "", {"isolation", "process"})}
            assert room(name) in allowed, f"{where}: agent/app.py hands one room's callable to another"


@pytest.mark.parametrize("file", files("control"))
def test_the_control_plane_shares_leaves_and_the_contract_with_the_agent_and_nothing_else(file: str) -> None:
    for line, name in imported_modules(file):
        if name.startswith("agent."):
            allowed = name in SHARED or (name not in TOPS and room(name) is None)
            assert allowed, f"{file}:{line} imports {name}"


@pytest.mark.parametrize("file", DECIDING)
def test_what_decides_touches_nothing(file: str) -> None:
    for line, name in imports(file):
        assert name.partition(".")[0] not in WORLD, f"{file}:{line} imports {name}"
        assert name != "agent.clock.Clock", f"{file}:{line}: `now` is an argument"
    for node in ast.walk(tree(file)):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{file}:{node.lineno} awaits"


@pytest.mark.parametrize("file", files("agent"))
def test_time_and_chance_come_from_the_clock(file: str) -> None:
    if file == "agent/clock.py":
        return
    for line, name in imports(file):
        assert name.partition(".")[0] not in {"random", "time"}, f"{file}:{line} imports {name}: take a Clock"
    for line, call in calls(file):
        assert not call.endswith(("datetime.now", "datetime.utcnow", "loop.time")), f"{file}:{line} calls {call}"


def calls(file: str) -> Iterator[tuple[int, str]]:
    """Each called thing as it is written, without arguments: `asyncio.create_task`, `get_running_loop().time`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            yield node.lineno, re.sub(r"\([^()]*\)", "()", ast.unparse(node.func))


@pytest.mark.parametrize("file", PRODUCT)
def test_tasks_live_in_groups(file: str) -> None:
    for line, call in calls(file):
        owner, _, name = call.rpartition(".")
        assert name not in {"ensure_future", "get_event_loop", "new_event_loop"}, f"{file}:{line} calls {call}"
        if name == "create_task":
            loose = owner in {"", "asyncio"} or owner.endswith(("loop", "loop()"))
            assert not loose, f"{file}:{line} calls {call}: nobody would wait for it, or see it fail"


@pytest.mark.parametrize("file", PRODUCT)
def test_nothing_is_asserted_and_nothing_is_global(file: str) -> None:
    for node in ast.walk(tree(file)):
        assert not isinstance(node, ast.Assert), f"{file}:{node.lineno}: python -O drops it; raise an error instead"
        assert not isinstance(node, ast.Global), f"{file}:{node.lineno}: state lives in objects"


@pytest.mark.parametrize("file", [*PRODUCT, *files("scripts")])
def test_a_module_opens_with_what_it_owns(file: str) -> None:
    assert ast.get_docstring(tree(file)), f"{file} has no docstring"


@pytest.mark.parametrize("file", EVERYTHING)
def test_a_name_says_what_is_inside(file: str) -> None:
    for part in Path(file).with_suffix("").parts:
        assert not VAGUE.search(part), f"{file}: {part} may mean anything"


def test_no_file_is_long() -> None:
    lengths = {file: (ROOT / file).read_bytes().count(b"\n") for file in EVERYTHING}
    long = {file: lines for file, lines in lengths.items() if lines > LINES}
    assert not long
    product = [lengths[file] for file in PRODUCT if not file.endswith("__init__.py")]
    print(f"{len(product)} modules, median {statistics.median(product):.0f} lines")  # noqa: T201 - for pytest -s


@pytest.mark.parametrize("table", [DECIDING, {name.replace(".", "/") + ".py": "" for name in SHARED}])
def test_what_the_rules_name_exists(table: dict[str, str]) -> None:
    assert not [file for file in table if not (ROOT / file).is_file()]


@pytest.mark.skipif(not (ROOT / "agent/app.py").is_file(), reason="there is no agent/app.py yet")
def test_the_agent_is_small_before_it_does_anything() -> None:
    script = "import agent.app, psutil; print(psutil.Process().memory_info().rss)"
    out = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, timeout=30).stdout
    mib = int(out) / 2**20
    assert mib <= IMPORTS_MIB, f"{mib:.1f} MiB of {IMPORTS_MIB} after the imports alone"
