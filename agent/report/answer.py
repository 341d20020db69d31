"""What the backend's answer to a report means.

Pure: a status, two headers and the body go in; an Answer comes out, or the error that the reporter retries after.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import orjson

from agent.errors import BackendError, BadAnswer, Throttled, Unauthorized

UNSERVED = frozenset({404, 405, 501})

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """`served`: false where the backend has no such endpoint. `last_activity_at`: the editor's own activity, RFC 3339.

    `remark`: what was wrong with an answer that counts all the same.
    """

    served: bool
    last_activity_at: str | None = None
    remark: str | None = None


def understand(status: int, data: bytes, *, retry_after: float | None = None) -> Answer:
    """Raise a BackendError for a report that did not get through.

    A backend that takes the report and says nothing (204, or an empty body) has been told. One that says something
    else than the contract's JSON has not: it is a login page or a proxy's greeting.
    """
    if status in UNSERVED:
        return Answer(served=False)
    if not 200 <= status < 300:
        raise _failure(status, retry_after)
    if not data.strip():
        return Answer(served=True)
    try:
        said = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadAnswer(f"the answer to a report is not JSON (it begins with {data[:40]!r})") from None
    if not isinstance(said, dict):
        raise BadAnswer("the answer to a report is no JSON object")
    if said.get("success") is False:
        raise BadAnswer(f"the backend refused a report: {str(said.get('error'))[:200]}")
    moment = said.get("last_activity_at")
    if moment is None or _is_rfc3339(moment):
        return Answer(served=True, last_activity_at=moment)
    return Answer(served=True, remark=f"last_activity_at is {str(moment)[:60]!r}, which is no RFC 3339 time")


def _failure(status: int, retry_after: float | None) -> BackendError:
    if status in {401, 403}:
        return Unauthorized(f"the backend refused our key for reports (status {status})")
    if status in {429, 503}:
        return Throttled(f"the backend takes no report now (status {status})", retry_after=retry_after)
    if 300 <= status < 400:
        return BadAnswer(f"the backend redirects reports (status {status}), which is never followed: mend API_URL")
    return BadAnswer(f"the backend answered a report with status {status}", retry_after=retry_after)


def _is_rfc3339(value: object) -> bool:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True
