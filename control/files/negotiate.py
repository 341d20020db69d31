"""Decides the response to a request for the files: 200, 226 or 304, held or not, JSON or NDJSON.

Pure: takes the request headers and the current set, returns the decision. The rules are those of RFC 9110 (conditional
requests, content negotiation), RFC 7240 (Prefer: wait) and RFC 3229 (deltas), as in the contract, section 3.

What must not live here: waiting, reading files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from control.errors import NotAcceptable, Stale
from control.storage.head import SetHead

Format = Literal["json", "ndjson"]

MEDIA: dict[Format, str] = {"json": "application/json", "ndjson": "application/x-ndjson"}
HEADERS = ("accept", "accept-encoding", "a-im", "prefer", "if-match", "if-none-match")
VARY = "Accept, Accept-Encoding, A-IM"
DELTA = "files-delta"
MAX_WAIT = 60
"""Seconds. The longest time that a request is held, because proxies end requests that take longer."""

_TAG = re.compile(r'\s*(?:((?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*")\s*)?(?:,|$)')
_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+')
_PARAM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^;"])+')
_Q = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class FilesRequest:
    """The relevant headers of a request, parsed."""

    form: Format
    gzip: bool
    wait: int
    """Seconds to hold the request; 0 answers at once."""
    delta: bool
    match: tuple[str, ...] | None
    """The tags of If-Match as the client wrote them; None without that header."""
    none_match: tuple[str, ...] | None
    """The tags of If-None-Match, likewise."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """304."""

    hold: bool
    """A change of the set would change the answer, so the request can be held until then."""


@dataclass(frozen=True, slots=True)
class Delta:
    """226 against revision `base`, which the client named as `tag`."""

    base: int
    tag: str


@dataclass(frozen=True, slots=True)
class Whole:
    """200."""


def read(headers: Mapping[str, str], *, near: bool = False) -> FilesRequest:
    """Parse the request headers. `headers`: lower-case name → value, repeated fields joined with commas.

    `near`: the client is on this machine, where compressing takes longer than sending. Then the response is compressed
    only if the client accepts nothing else.
    """
    codings = _qualities(headers.get("accept-encoding", ""))
    plain = codings.get("identity", codings.get("*", 1.0))
    packed = codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0)))
    return FilesRequest(
        form=_form(headers.get("accept", "")),
        gzip=packed > 0 and (plain == 0 or not near),
        wait=_wait(headers.get("prefer", "")),
        delta=_qualities(headers.get("a-im", "")).get(DELTA, 0.0) > 0,
        match=tags(headers.get("if-match")),
        none_match=tags(headers.get("if-none-match")),
    )


def decide(request: FilesRequest, head: SetHead) -> Unchanged | Delta | Whole:
    """Evaluate If-Match (412), then If-None-Match (304), then look for the newest usable base of a delta."""
    require(request.match, head)
    if request.none_match is None:
        return Whole()
    if "*" in request.none_match:
        return Unchanged(hold=False)
    bases = [(revision, tag) for tag in request.none_match if (revision := _revision(tag, head)) is not None]
    if any(revision == head.revision for revision, _ in bases):
        return Unchanged(hold=True)
    bases = [(revision, tag) for revision, tag in bases if head.floor <= revision < head.revision]
    if request.delta and bases:
        return Delta(*max(bases))
    return Whole()


def require(match: tuple[str, ...] | None, head: SetHead) -> None:
    """Raise Stale (412) unless If-Match names the current set, by strong comparison."""
    if match is not None and "*" not in match and head.tag not in match:
        raise Stale(f"the current set is {head.tag}, which If-Match does not name", {"ETag": head.tag})


def tags(value: str | None) -> tuple[str, ...] | None:
    """Parse a list of entity tags or `*`. Return None without the header, and () if it is malformed."""
    if not value:
        return None
    if value.strip() == "*":
        return ("*",)
    found: list[str] = []
    place = 0
    while place < len(value):
        match = _TAG.match(value, place)
        if match is None:
            return ()
        if match[1]:
            found.append(match[1])
        place = match.end()
    return tuple(found)


def _revision(tag: str, head: SetHead) -> int | None:
    """Return the revision that a tag names, or None. Weak tags count, because compressing proxies weaken ours."""
    opaque = tag.removeprefix("W/").strip('"')
    epoch, _, number = opaque.rpartition("-")
    if epoch != head.epoch or not re.fullmatch("0|[1-9][0-9]{0,17}", number):
        return None
    return int(number)


def _form(accept: str) -> Format:
    """Return NDJSON only if the client prefers it: a client that accepts anything gets JSON."""
    if not accept.strip():
        return "json"
    ranges = _qualities(accept)
    lines, plain = (_quality(ranges, MEDIA[form]) for form in ("ndjson", "json"))
    if lines > plain:
        return "ndjson"
    if plain > 0:
        return "json"
    raise NotAcceptable(f"the files are served as {MEDIA['json']} and {MEDIA['ndjson']}, and Accept allows neither")


def _quality(ranges: Mapping[str, float], media: str) -> float:
    for pattern in (media, "application/*", "*/*"):
        if pattern in ranges:
            return ranges[pattern]
    return 0.0


def _wait(prefer: str) -> int:
    """Return the seconds of the first `wait` preference. RFC 7240: malformed preferences are ignored."""
    for name, value in _preferences(prefer):
        if name == "wait":
            return min(int(value), MAX_WAIT) if re.fullmatch("[0-9]{1,9}", value) else 0
    return 0


def _preferences(prefer: str) -> Iterator[tuple[str, str]]:
    for item in _ITEM.findall(prefer):
        name, _, value = _PARAM.findall(item)[0].partition("=") if item.strip(" ;") else ("", "", "")
        yield name.strip().lower(), value.strip().strip('"')


def _qualities(value: str) -> dict[str, float]:
    """Parse `a;q=0.5, b` as {a: 0.5, b: 1}. Other parameters are ignored, and an invalid q counts as 0."""
    found: dict[str, float] = {}
    for item in _ITEM.findall(value):
        name, *params = (part.strip().lower() for part in item.split(";"))
        if not name:
            continue
        weights = [param[2:].strip() for param in params if param.startswith("q=")]
        found[name] = (float(weights[0]) if _Q.fullmatch(weights[0]) else 0.0) if weights else 1.0
    return found
