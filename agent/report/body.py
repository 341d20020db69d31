"""Builds the body of an activity report from a snapshot (contract, section 4).

Pure. Receipts are not measured yet and are sent as an empty list, so that the format stays the same when they are.
"""

from __future__ import annotations

from typing import Any

from agent.status import Problem, Snapshot, phase
from agent.text import utf8

MAX_PROBLEMS = 50
MAX_MESSAGE = 2_000
"""Characters. The backend shows messages beside the editor; the whole text is in /status and /logs."""

Body = dict[str, Any]


def body(now: Snapshot) -> Body:
    return {
        "state": phase(now),
        "machine": now.machine,
        "revision": now.sync.revision,
        "etag": now.sync.etag and utf8(now.sync.etag),
        "last_activity_at": now.idle.last_activity_at,
        "last_activity": now.idle.last_activity,
        "sleep_at": now.idle.sleep_at,
        "dev_server": {
            "state": now.dev_server.state,
            "restarts": now.dev_server.restarts,
            "rss_bytes": now.dev_server.rss_bytes,
        },
        "problems": [_problem(problem) for problem in now.problems[:MAX_PROBLEMS]],
        "receipts": [],
    }


def urgent_parts(report: Body) -> tuple[object, ...]:
    """The parts whose change is reported at once. Others, such as memory use, wait for the next report."""
    server = report["dev_server"]
    return (
        report["state"],
        report["revision"],
        report["etag"],
        server["state"],
        server["restarts"],
        report["problems"],
        report["receipts"],
    )


def _problem(problem: Problem) -> Body:
    message = utf8(problem.message)
    return {
        "source": problem.source,
        "message": message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…",
        "file": problem.file and utf8(problem.file),
        "line": problem.line,
        "column": problem.column,
        "since_revision": problem.since_revision,
        "level": problem.level,
        "code": problem.code,
    }
