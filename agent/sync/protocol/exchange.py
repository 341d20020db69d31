"""One exchange with the files API: what a request says, and what the head of its answer means.

Pure. The status code alone tells what an answer is (contract, section 3); everything that the backend offers beyond the
plain form is read off the answer itself, so that nothing has to be configured and a backend may stop offering it at any
time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent.clock import retry_after
from agent.errors import BackendError, BadAnswer, NoSuchApp, Throttled, Unauthorized, Unreachable, WrongBase

_NO_ANSWER = frozenset({408, 502, 504, *range(520, 525)})
"""What a proxy says that stands before the backend and got nothing from it: often that a request was held too long."""

_CLAIM = re.compile(r'error_description="[^"]{0,80}\bclaim (iss|aud|exp|nbf|iat|app_name|machine_id)\b')
"""The part of a refusal (RFC 6750, section 3) that is shown: a name out of these. The rest may quote the token."""

_CLAIM_HINTS = {"aud": "(it is API_URL, letter by letter)"}


@dataclass(frozen=True, slots=True)
class Ask:
    """`tag`: what is on disk, or None for the whole set. `wait`: seconds to be held, 0 for an answer at once."""

    tag: str | None
    wait: int = 0

    def headers(self) -> dict[str, str]:
        headers = {"Accept": "application/x-ndjson, application/json;q=0.9", "Cache-Control": "no-cache"}
        if self.tag is not None:
            headers |= {"If-None-Match": self.tag, "A-IM": "files-delta"}
            if self.wait:
                headers["Prefer"] = f"wait={self.wait}"
        return headers


@dataclass(frozen=True, slots=True)
class Head:
    """`held`: the backend says that it honours the wait. `stream`: the body is NDJSON."""

    kind: Literal["same", "whole", "delta"]
    etag: str | None
    revision: int | None
    held: bool
    stream: bool


def read_head(status: int, headers: Mapping[str, str], ask: Ask, *, wall: float) -> Head:
    """What the answer is; raises the error that it is. `headers` ignores case; `wall` is the time, for Retry-After."""
    if status not in {200, 226, 304}:
        raise failure(status, headers, wall)
    kind: Literal["same", "whole", "delta"] = "whole" if status == 200 else "delta" if status == 226 else "same"
    if kind == "same" and ask.tag is None:
        raise WrongBase("the backend answers 304 (nothing changed) to a request that named no tag")
    if kind == "delta":
        _check_delta(headers, ask)
    return Head(
        kind,
        _etag(headers.get("ETag")) or (ask.tag if kind == "same" else None),
        _revision(headers.get("Preview-Revision")),
        bool(ask.wait)
        and re.search(r"(^|[,;\s])wait\b", headers.get("Preference-Applied", ""), re.IGNORECASE) is not None,
        headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/x-ndjson",
    )


def _check_delta(headers: Mapping[str, str], ask: Ask) -> None:
    base = headers.get("Delta-Base")
    if ask.tag is None or base != ask.tag:
        raise WrongBase(f"the backend sent a delta against {base}, and {ask.tag or 'no tag'} is on disk")
    made = headers.get("IM")
    if made is not None and "files-delta" not in [name.strip() for name in made.split(",")]:
        raise WrongBase(f"the backend sent a delta of a kind that was not asked for: {made}")


def _etag(text: str | None) -> str | None:
    """A tag that can be sent back as it came; anything else is as good as none (RFC 9110, 8.8.3)."""
    return text if text and re.fullmatch(r"[\x21-\x7e]{1,1024}", text) else None


def _revision(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise BadAnswer(f"Preview-Revision is {text[:40]!r}, not a whole number")
    return int(text)


def failure(status: int, headers: Mapping[str, str], wall: float) -> BackendError:
    """The error that an answer is which is neither a set nor "nothing changed"."""
    if status in {401, 403}:
        claim = _CLAIM.search(headers.get("WWW-Authenticate", ""))
        if claim is not None:
            told = f"{claim[1]} {_CLAIM_HINTS.get(claim[1], '')}".rstrip()
            return Unauthorized(f"the backend refuses this machine's token ({status}) for its claim {told}")
        return Unauthorized(f"the backend refuses the key ({status}): check API_KEY and APP_ID")
    if status == 404:
        return NoSuchApp("the backend knows no such app (404): check APP_ID and API_URL")
    if status in {429, 503}:
        return Throttled(
            f"the backend asks to come back later ({status})", retry_after=retry_after(headers.get("Retry-After"), wall)
        )
    if status in _NO_ANSWER:
        return Unreachable(f"a proxy before the backend says that it got no answer from it ({status})")
    if 300 <= status < 400:
        return BackendError(
            f"the backend redirects ({status}), which is not followed: set API_URL to the address itself"
        )
    return BackendError(f"the backend answered {status}")
