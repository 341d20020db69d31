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

from scripts import purity

ROOT = Path(__file__).resolve().parents[2]

# The only modules that know all rooms: what builds them, what looks at what they would meet, and the command line.
TOPS = {"agent.__main__", "agent.app", "agent.check.preflight", "agent.check.isolation", "agent.cli"}

# Rooms that every other room may stand on, and what they themselves may stand on.
LEAF_ROOMS: dict[str, set[str]] = {"isolation": set(), "process": {"isolation"}, "backend": set()}

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
            allowed = {room(here), *LEAF_ROOMS.get(room(here) or "", LEAF_ROOMS)}
            assert room(name) in allowed, f"{where}: agent/app.py hands one room's callable to another"


@pytest.mark.parametrize("file", files("control"))
def test_the_control_plane_imports_only_modules_without_a_room_from_the_agent(file: str) -> None:
    for line, name in imported_modules(file):
        if name.startswith("agent."):
            allowed = name not in TOPS and room(name) is None
            assert allowed, f"{file}:{line} imports {name}"


@pytest.mark.parametrize("room", ["sync", "devserver", "packages", "gateway", "report", "sleep", "admin"])
def test_each_room_has_pure_modules_that_decide(room: str) -> None:
    assert [name for name in purity.pure() if name.startswith(f"agent.{room}.")]


def test_a_module_that_stands_on_the_world_through_another_is_not_pure() -> None:
    """The finder itself: these reach outside of the process only through what they import, or not at all."""
    assert purity.reason("agent.devserver.supervisor")
    assert purity.reason("agent.sync.protocol.client")
    assert not purity.reason("agent.devserver.lifecycle")
    assert not purity.reason("agent.sync.plan")


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


def test_every_module_that_the_rules_name_exists() -> None:
    assert TOPS <= MODULES


def test_the_agent_is_small_before_it_does_anything() -> None:
    script = "import agent.app, psutil; print(psutil.Process().memory_info().rss)"
    out = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, timeout=30).stdout
    mib = int(out) / 2**20
    assert mib <= IMPORTS_MIB, f"{mib:.1f} MiB of {IMPORTS_MIB} after the imports alone"
