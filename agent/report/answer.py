"""Interprets the backend's answer to a report.

Pure. The result is a ReportAnswer, or the BackendError after which the reporter retries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from agent.backend.responses import status_error
from agent.errors import BadAnswer

UNSERVED = frozenset({404, 405, 501})
"""The backend has no endpoint for reports."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    served: bool
    """False if the backend has no such endpoint."""
    last_activity_at: str | None = None
    """When somebody last used the editor, RFC 3339."""
    warning: str | None = None
    """What was wrong with an answer that is accepted all the same."""


def read_answer(status: int, headers: Mapping[str, str], data: bytes, *, wall: float) -> ReportAnswer:
    """Raises a BackendError if the report was not accepted. `wall` is the current time, for a Retry-After date.

    An empty body is accepted. A body that is not the contract's JSON is not: it is a login page or a proxy's page, so
    the backend did not get the report.
    """
    if status in UNSERVED:
        return ReportAnswer(served=False)
    if not 200 <= status < 300:
        raise status_error(status, headers, wall=wall)
    if not data.strip():
        return ReportAnswer(served=True)
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadAnswer(f"the answer to a report is not JSON (it begins with {data[:40]!r})") from None
    if not isinstance(payload, dict):
        raise BadAnswer("the answer to a report is not a JSON object")
    if payload.get("success") is False:
        raise BadAnswer(f"the backend refused a report: {str(payload.get('error'))[:200]}")
    moment = payload.get("last_activity_at")
    if moment is None or _is_rfc3339(moment):
        return ReportAnswer(served=True, last_activity_at=moment)
    return ReportAnswer(served=True, warning=f"last_activity_at is {str(moment)[:60]!r}, which is not an RFC 3339 time")


def _is_rfc3339(value: object) -> bool:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True
