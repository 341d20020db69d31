"""The order in which rows run where there may not be time for all of them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from scripts.apptable.rows import Row


def family(row: Row) -> str:
    """What the row has in common with its siblings: generator, package manager, workspaces, or how it must end."""
    generator = row.kind.partition(" ")[0]
    if generator.startswith("create-"):
        return generator
    if row.directory != ".":
        return "workspaces"
    if not row.runs:
        return "refused"
    if row.mend:
        return "mended"
    if row.template:
        return "files only"
    if row.manager != "npm":
        return row.manager.partition("@")[0]
    return row.router if row.steps or row.router == "none" else f"{row.router}, own start"


def one_of_each_kind_first(rows: Sequence[Row]) -> list[Row]:
    """The first row of each family, then the second of each, and so on; within a family quick rows before others, and
    those that need a newer Node.js last.
    """
    families: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (not row.quick, row.node)):
        families.setdefault(family(row), []).append(row)
    return [row for nth in itertools.zip_longest(*families.values()) for row in nth if row is not None]
