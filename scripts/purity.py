"""Finds the pure modules: they import nothing that reaches outside of the process, and no module of ours that does.

ARCHITECTURE.md's list of them is generated from this, so that a module that stops being pure shows in a diff.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORLD = frozenset(
    [
        "aiohttp",
        "asyncio",
        "contextvars",
        "ctypes",
        "fcntl",
        "glob",
        "os",
        "pathlib",
        "psutil",
        "random",
        "resource",
        "select",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "watchfiles",
    ]
)
"""Top-level packages through which a program reads or changes something outside of its arguments."""

VALUES = {
    "agent.clock": {"full_jitter", "retry_after", "rfc3339"},
    "agent.config": {"Secret", "Settings", "SleepMode"},
    "agent.isolation.user": {"DevUser"},
}
"""Names that are pure themselves, in modules that are not. Clock is not among them: `now` is an argument."""


def modules(*tops: str) -> dict[str, Path]:
    """Each module by its dotted name."""
    found = (path for top in tops for path in sorted((ROOT / top).rglob("*.py")) if "node_modules" not in path.parts)
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in found}


PRODUCT = modules("agent", "control")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Each imported thing by its full name, with its line: a module, or a name in one (`agent.clock.Clock`)."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def reason(name: str) -> str | None:
    """Why the module `name` of the product is not pure, with the line of its first import or await that is not."""
    path = PRODUCT[name]
    for line, imported in imports(path):
        if imported.partition(".")[0] in WORLD:
            return f"line {line} imports {imported}"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            return f"line {node.lineno} awaits"
    for line, imported in imports(path):
        owner = imported if imported in PRODUCT else imported.rpartition(".")[0]
        if owner in PRODUCT and imported.rpartition(".")[2] not in VALUES.get(owner, ()) and reason(owner):
            return f"line {line} imports {owner}, where {reason(owner)}"
    return None


def pure() -> list[str]:
    """The names of the pure modules of the product, without `__init__` modules, which hold a docstring only."""
    return [
        name
        for name, path in PRODUCT.items()
        if path.name not in {"__init__.py", "__main__.py"} and reason(name) is None
    ]
