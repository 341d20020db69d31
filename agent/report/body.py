"""The snapshot as the body of an activity report (contract, section 4), and which of it is news.

Pure. Receipts are not measured yet: the body says so with an empty list, so that a backend needs no second form when
they are.
"""

from __future__ import annotations

from typing import Any

from agent.status import Problem, Snapshot, phase

MAX_PROBLEMS = 50
MAX_MESSAGE = 2_000
"""Characters. The feed is for a person beside the editor; the whole text is in /status and /logs."""

Body = dict[str, Any]


def body(now: Snapshot) -> Body:
    return {
        "state": phase(now),
        "machine": now.machine,
        "revision": now.sync.revision,
        "etag": now.sync.etag and _utf8(now.sync.etag),
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


def news(told: Body) -> tuple[object, ...]:
    """The parts whose change is told at once. The rest (memory use) goes along with the next report."""
    server = told["dev_server"]
    return (
        told["state"],
        told["revision"],
        told["etag"],
        server["state"],
        server["restarts"],
        told["problems"],
        told["receipts"],
    )


def _problem(problem: Problem) -> Body:
    message = _utf8(problem.message)
    return {
        "source": problem.source,
        "message": message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…",
        "file": problem.file and _utf8(problem.file),
        "line": problem.line,
        "column": problem.column,
        "since_revision": problem.since_revision,
        "level": problem.level,
        "code": problem.code,
    }


def _utf8(text: str) -> str:
    """A header or a file name that was not UTF-8 reaches us with lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode()
