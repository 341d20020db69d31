"""Formats the result: a table for people, and JSON with the machine's description for comparing runs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil

from agent.clock import Clock, rfc3339
from scripts.benches.rows import Row, number

HEAD = ("what", "value", "baseline", "ratio", "budget", "result")


def machine() -> dict[str, Any]:
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total >> 20,
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "node": node.stdout.strip().lstrip("v"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def load() -> float:
    """Return the load average of the last minute, which includes this process."""
    return round(os.getloadavg()[0], 2)


def as_table(rows: Sequence[Row]) -> str:
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    lines = []
    for at, row in enumerate(cells):
        padded = (
            text.ljust(width) if column in {0, 4, 5} else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(padded).rstrip())
        if at == 0:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        else:
            lines.append(f"    {_how(rows[at - 1])}")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        f"{number(row.value)} {row.unit}" if row.value is not None else "",
        f"{number(row.baseline)} {row.unit}" if row.baseline is not None else "",
        f"{number(row.ratio)} x" if row.ratio is not None else "",
        row.budget.text(row.unit) if row.budget else "",
        row.result,
    )


def _how(row: Row) -> str:
    return f"{row.how}; baseline: {row.against}" if row.against else row.how


def write_json(path: Path, rows: Iterable[Row], loads: Mapping[str, Sequence[float]], *, quick: bool) -> None:
    """`loads`: by family, the load average before and after it."""
    whole = {
        "date": rfc3339(Clock().wall()),
        "quick": quick,
        "machine": machine(),
        "load": loads,
        "rows": [row.as_json() for row in rows],
    }
    path.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n")
