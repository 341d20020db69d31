"""Regenerates the parts of the documents that come from code, between `<!-- generated:NAME -->` and
`<!-- /generated:NAME -->`.

tests/unit/test_documents.py fails if a document is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from agent import config, problem_codes
from agent.devserver import lifecycle
from scripts import purity

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")


def environment() -> str:
    rows = [
        f"| `{row.name}` | {_default(row)} | {row.meaning[0].upper()}{row.meaning[1:]} |"
        for row in config.TABLE
        if not row.name.startswith("FLY_")
    ]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows])


def _default(row: config.Setting) -> str:
    if row.required:
        return "**required**"
    if row.name == "DEV_COMMAND":
        return "the app's `dev` script"
    if row.name == "APP_DIR":
        return "found"
    return f"`{row.default}`" if row.default else "none"


def states() -> str:
    return f"```mermaid\n{lifecycle.mermaid()}\n```"


def pure() -> str:
    """A table of the pure modules, one row per folder."""
    folders: dict[str, list[str]] = {}
    for name in purity.pure():
        folder, _, module = name.rpartition(".")
        folders.setdefault(folder.replace(".", "/"), []).append(f"`{module}`")
    rows = (f"| `{folder}` | {', '.join(modules)} |" for folder, modules in sorted(folders.items()))
    return "\n".join(["| Folder | Pure modules |", "|---|---|", *rows])


def problems() -> str:
    """A table of the problem codes."""
    rows = (f"| `{code}` | {each.cause} | {each.action} |" for code, each in problem_codes.CODES.items())
    return "\n".join(["| Code | Usual cause | What to do |", "|---|---|---|", *rows])


PARTS: Mapping[str, Callable[[], str]] = {
    "environment": environment,
    "problems": problems,
    "pure": pure,
    "states": states,
}


def renewed(text: str) -> str:
    """Return `text` with every generated part regenerated. An unknown part raises KeyError."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}"

    return re.sub(r"(<!-- generated:(\w+) -->)\n.*?(<!-- /generated:\2 -->)", part, text, flags=re.DOTALL)


def main() -> None:
    for name in DOCUMENTS:
        document = ROOT / name
        text = document.read_text("utf-8")
        new = renewed(text)
        if new != text:
            document.write_text(new, "utf-8")
            print(f"renewed {name}")


if __name__ == "__main__":
    main()
