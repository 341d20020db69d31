"""The series of edits that each app is given, made from its own files. Pure.

Order matters: "delete" removes what "route" added, "fix" restores what "break" broke.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from scripts.apptable.rows import Row, Step

EDITED: Final = "Edited while it runs"
MENDED: Final = "Mended while it runs"
"""Other than EDITED: a compiler that finds what it had before the error may tell the browser nothing."""
ADDED: Final = "A route that was added"
PACKAGE: Final = ("ms", "2.1.3")
"""Without dependencies and types, so that adding it is all that happens."""
PASSED: Final = "1m passed"
STYLE: Final = "41"
PACKAGE_SECONDS: Final = 40.0

_BROKEN: Final[Mapping[str, str]] = {
    ".svelte": "{#if}\n",
    ".astro": "{(() => { const = ; })()}\n",
}
_INSERT: Final[Mapping[str, str]] = {".vue": "{{{{ {} }}}}"}


class Unfit(Exception):
    """The row names something that its app does not have. The message says which."""


def steps(row: Row, files: Mapping[str, str]) -> list[Step]:
    """The row's edits and then its own steps. `files`: the app's text files. Raises Unfit."""
    if not row.edits:
        return list(row.steps)
    page = _text(row, files, row.page)
    if row.see not in page:
        raise Unfit(f"{row.name}: {row.page} does not contain {row.see!r}")
    edited = page.replace(row.see, EDITED, 1)
    made = {
        "text": Step("text", {row.page: edited}, see=EDITED),
        "break": Step("break", {row.page: broken(row.page, edited)}, error=True),
        "fix": Step("fix", {row.page: page.replace(row.see, MENDED, 1)}, see=MENDED),
    }
    if "css" in row.edits:
        css = _text(row, files, row.css)
        made["css"] = Step("css", {row.css: f"{css}\n:root {{ --previewed: {STYLE}; }}\n"}, style=STYLE)
    if "route" in row.edits:
        path, content, at = added_route(row)
        made["route"] = Step("route", {path: content}, see=ADDED, at=at)
        made["delete"] = Step("delete", {path: None}, gone=ADDED, at=at)
    if "package" in row.edits:
        manifest = str(PurePosixPath(row.directory) / "package.json")
        made["package"] = Step(
            "package",
            {
                manifest: with_package(_text(row, files, manifest)),
                row.page: with_import(row.page, page.replace(row.see, f"{_expression(row)} passed", 1)),
            },
            see=PASSED,
            within=PACKAGE_SECONDS,
        )
    return [made[edit] for edit in row.edits] + list(row.steps)


def _text(row: Row, files: Mapping[str, str], path: str) -> str:
    if path not in files:
        raise Unfit(f"{row.name}: there is no file {path or '(none named)'}")
    return files[path]


def _expression(row: Row) -> str:
    pattern = row.insert or _INSERT.get(PurePosixPath(row.page).suffix, "{{{}}}")
    return pattern.format("ms(60000)")


def broken(path: str, text: str) -> str:
    """`text` with a syntax error in the language of `path`."""
    if path.endswith(".vue"):  # a second script element would be another error, which outlives it
        before, end, after = text.rpartition("</template>")
        return f'{before}<p :title="const ="></p>{end}{after}'
    return text + "\n" + _BROKEN.get(PurePosixPath(path).suffix, "export const = ;\n")


def added_route(row: Row) -> tuple[str, str, str]:
    """(file, content, address) of a new route."""
    folder = PurePosixPath(row.routes)
    component = f"export default function Added() {{\n  return <p>{ADDED}</p>;\n}}\n"
    at = f"{row.base}/added"
    match row.router:
        case "app":
            return str(folder / "added" / f"page{_suffix(row)}"), component, at
        case "pages" if row.page.endswith(".astro"):
            return str(folder / "added.astro"), f"<p>{ADDED}</p>\n", at
        case "pages":
            return str(folder / f"added{_suffix(row)}"), component, at
        case "public":
            return str(folder / "added.txt"), f"{ADDED}\n", f"{at}.txt"
        case "none":
            raise Unfit(f"{row.name}: a route is to be added, but the row names no router")


def _suffix(row: Row) -> str:
    return ".tsx" if row.page.endswith((".tsx", ".mdx")) else ".js"


def with_package(manifest: str) -> str:
    """`manifest` with PACKAGE among its dependencies."""
    said = json.loads(manifest)
    name, version = PACKAGE
    return json.dumps({**said, "dependencies": {**said.get("dependencies", {}), name: version}}, indent=2) + "\n"


def with_import(path: str, text: str) -> str:
    """`text` with an import of PACKAGE at the place where the language of `path` has its imports."""
    line = f'import {PACKAGE[0]} from "{PACKAGE[0]}";\n'
    match PurePosixPath(path).suffix:
        case ".vue" | ".svelte":
            if "<script" not in text:
                return f"<script>\n{line}</script>\n{text}"
            end = text.index(">", text.index("<script")) + 1
            return f"{text[:end]}\n{line}{text[end:]}"
        case ".astro":
            return text.replace("---\n", f"---\n{line}", 1) if text.startswith("---\n") else f"---\n{line}---\n{text}"
        case _:
            directive = next((quoted for q in "\"'" if text.startswith(quoted := f"{q}use client{q}")), "")
            if not directive:
                return line + text
            end = text.index("\n") + 1
            return text[:end] + line + text[end:]


def apply(step: Step, now: Mapping[str, str]) -> dict[str, str | None]:
    """What `step` changes, as path → new content or None. Raises Unfit where a text to replace is not there."""
    changes = dict(step.files)
    for path, (old, new) in step.replace.items():
        text = now.get(path)
        if text is None or old not in text:
            raise Unfit(f"step {step.name}: {path} does not contain {old!r}")
        changes[path] = text.replace(old, new)
    return changes
