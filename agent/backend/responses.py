"""Maps an HTTP status of the backend that is not a success to the error it means (contract, section 3).

Pure. Every request to the backend uses this table. Statuses that have a meaning for one endpoint only, such as 304 for
files and 404 for reports, are handled by that endpoint's module before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.clock import retry_after
from agent.errors import BackendError, NoSuchApp, Throttled, Unauthorized, Unreachable

_GATEWAY_ERRORS = frozenset({408, 502, 504, *range(520, 525)})
"""Sent by a proxy that got no answer from the backend, often because a request was held for too long."""

_CLAIM = re.compile(r'error_description="[^"]{0,80}\bclaim (iss|aud|exp|nbf|iat|app_name|machine_id)\b')
"""The part of a Bearer challenge (RFC 6750, section 3) that is shown. The rest may quote the token."""

_CLAIM_HINTS = {"aud": " (it is API_URL, letter by letter)"}


def status_error(status: int, headers: Mapping[str, str], *, wall: float) -> BackendError:
    """The error for a status. `headers` ignores case; `wall` is the current time, for a Retry-After date."""
    if status in {401, 403}:
        claim = _CLAIM.search(headers.get("WWW-Authenticate", ""))
        if claim is not None:
            hint = _CLAIM_HINTS.get(claim[1], "")
            return Unauthorized(f"the backend refuses this machine's token ({status}) for its claim {claim[1]}{hint}")
        return Unauthorized(f"the backend refuses the key ({status}): check API_KEY and APP_ID")
    if status == 404:
        return NoSuchApp("the backend knows no such app (404): check APP_ID and API_URL")
    if status in {429, 503}:
        wait = retry_after(headers.get("Retry-After"), wall)
        return Throttled(f"the backend asks to retry later ({status})", retry_after=wait)
    if status in _GATEWAY_ERRORS:
        return Unreachable(f"a proxy in front of the backend got no answer from it ({status})")
    if 300 <= status < 400:
        return BackendError(
            f"the backend redirects ({status}), and redirects are not followed: set API_URL to the final address"
        )
    return BackendError(f"the backend answered {status}")
