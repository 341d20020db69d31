"""The headers of one exchange with the files API: those of the request, and what those of the answer mean.

Pure. The status code alone decides what an answer is (contract, section 3). Everything that the backend offers beyond
the plain form is recognised by the answer itself, so that nothing has to be configured and the backend may stop
offering it at any time. Statuses that are failures are mapped in agent/backend/responses.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent.backend.responses import status_error
from agent.errors import BadAnswer, WrongBase


@dataclass(frozen=True, slots=True)
class FilesRequest:
    tag: str | None
    """The ETag of the set on disk, or None to get the whole set."""
    wait: int = 0
    """Seconds the backend may hold the request; 0: an answer at once."""

    def headers(self) -> dict[str, str]:
        headers = {"Accept": "application/x-ndjson, application/json;q=0.9", "Cache-Control": "no-cache"}
        if self.tag is not None:
            headers |= {"If-None-Match": self.tag, "A-IM": "files-delta"}
            if self.wait:
                headers["Prefer"] = f"wait={self.wait}"
        return headers


@dataclass(frozen=True, slots=True)
class AnswerHead:
    kind: Literal["same", "whole", "delta"]
    etag: str | None
    revision: int | None
    held: bool
    """The backend honours the requested wait (Preference-Applied)."""
    stream: bool
    """The body is NDJSON."""


def read_head(status: int, headers: Mapping[str, str], request: FilesRequest, *, wall: float) -> AnswerHead:
    """Interpret status and headers. Raises a BackendError for anything but a set or "nothing changed".

    `headers` ignores case; `wall` is the current time, for a Retry-After date.
    """
    if status not in {200, 226, 304}:
        raise status_error(status, headers, wall=wall)
    kind: Literal["same", "whole", "delta"] = "whole" if status == 200 else "delta" if status == 226 else "same"
    if kind == "same" and request.tag is None:
        raise WrongBase("the backend answers 304 (nothing changed) to a request that named no tag")
    if kind == "delta":
        _check_delta(headers, request)
    return AnswerHead(
        kind,
        _etag(headers.get("ETag")) or (request.tag if kind == "same" else None),
        _revision(headers.get("Preview-Revision")),
        bool(request.wait)
        and re.search(r"(^|[,;\s])wait\b", headers.get("Preference-Applied", ""), re.IGNORECASE) is not None,
        headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/x-ndjson",
    )


def _check_delta(headers: Mapping[str, str], request: FilesRequest) -> None:
    base = headers.get("Delta-Base")
    if request.tag is None or base != request.tag:
        raise WrongBase(f"the backend sent a delta against {base}, but {request.tag or 'no tag'} is on disk")
    applied = headers.get("IM")
    if applied is not None and "files-delta" not in [name.strip() for name in applied.split(",")]:
        raise WrongBase(f"the backend sent a delta format that was not requested: {applied}")


def _etag(text: str | None) -> str | None:
    """The tag, or None if it is not printable ASCII and so cannot be sent back unchanged (RFC 9110, 8.8.3)."""
    return text if text and re.fullmatch(r"[\x21-\x7e]{1,1024}", text) else None


def _revision(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise BadAnswer(f"Preview-Revision is {text[:40]!r}, not a whole number")
    return int(text)
