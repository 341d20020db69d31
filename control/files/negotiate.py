"""What a request for the files asks for, and what it gets: 200, 226 or 304, held or not, in which form.

Pure: request headers and the current head in, a decision out. The rules are those of RFC 9110 (conditions,
negotiation), RFC 7240 (Prefer: wait) and RFC 3229 (deltas), as the contract's section 3 uses them.

What must not live here: waiting, reading files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from control.errors import NotAcceptable, Stale
from control.storage.head import Head

Format = Literal["json", "ndjson"]

MEDIA: dict[Format, str] = {"json": "application/json", "ndjson": "application/x-ndjson"}
HEADERS = ("accept", "accept-encoding", "a-im", "prefer", "if-match", "if-none-match")
VARY = "Accept, Accept-Encoding, A-IM"
DELTA = "files-delta"
MAX_WAIT = 60
"""Seconds a request is held at most, whatever it asks for: what proxies on the way let pass."""

_TAG = re.compile(r'\s*(?:((?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*")\s*)?(?:,|$)')
_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+')
_PARAM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^;"])+')
_Q = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class Ask:
    """`wait`: seconds, 0 for an answer at once. The tags are as the client wrote them; None: no such header."""

    form: Format
    gzip: bool
    wait: int
    delta: bool
    match: tuple[str, ...] | None
    none_match: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """304. `hold`: a change would make another answer of it, so that waiting for one has a point."""

    hold: bool


@dataclass(frozen=True, slots=True)
class Delta:
    """226 against revision `base`, whose tag the client wrote as `tag`."""

    base: int
    tag: str


@dataclass(frozen=True, slots=True)
class Whole:
    """200."""


def read(headers: Mapping[str, str], *, near: bool = False) -> Ask:
    """What a request asks for. `headers`: lower-case name → value, several lines joined with commas.

    `near`: the client is on this machine, where compressing costs more time than sending; it is done for one that takes
    nothing else.
    """
    codings = _qualities(headers.get("accept-encoding", ""))
    plain = codings.get("identity", codings.get("*", 1.0))
    packed = codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0)))
    return Ask(
        form=_form(headers.get("accept", "")),
        gzip=packed > 0 and (plain == 0 or not near),
        wait=_wait(headers.get("prefer", "")),
        delta=_qualities(headers.get("a-im", "")).get(DELTA, 0.0) > 0,
        match=tags(headers.get("if-match")),
        none_match=tags(headers.get("if-none-match")),
    )


def decide(ask: Ask, head: Head) -> Unchanged | Delta | Whole:
    """If-Match comes first (412), then If-None-Match (304), then a delta against the newest base that can be one."""
    require(ask.match, head)
    if ask.none_match is None:
        return Whole()
    if "*" in ask.none_match:
        return Unchanged(hold=False)
    bases = [(revision, tag) for tag in ask.none_match if (revision := _revision(tag, head)) is not None]
    if any(revision == head.revision for revision, _ in bases):
        return Unchanged(hold=True)
    bases = [(revision, tag) for revision, tag in bases if head.floor <= revision < head.revision]
    if ask.delta and bases:
        return Delta(*max(bases))
    return Whole()


def require(match: tuple[str, ...] | None, head: Head) -> None:
    """If-Match: the current set must be one of those named, compared strongly, else 412."""
    if match is not None and "*" not in match and head.tag not in match:
        raise Stale(f"the set is at {head.tag} now, which If-Match does not name", {"ETag": head.tag})


def tags(value: str | None) -> tuple[str, ...] | None:
    """A list of entity tags, or `*`; None without the header. What is no such list names no tag of ours."""
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


def _revision(tag: str, head: Head) -> int | None:
    """Which revision of this set a tag names. A weak tag counts: proxies that compress weaken ours on the way."""
    opaque = tag.removeprefix("W/").strip('"')
    epoch, _, number = opaque.rpartition("-")
    if epoch != head.epoch or not re.fullmatch("0|[1-9][0-9]{0,17}", number):
        return None
    return int(number)


def _form(accept: str) -> Format:
    """JSON, unless the client likes NDJSON better: a client that takes anything gets the plain form."""
    if not accept.strip():
        return "json"
    ranges = _qualities(accept)
    lines, plain = (_liking(ranges, MEDIA[form]) for form in ("ndjson", "json"))
    if lines > plain:
        return "ndjson"
    if plain > 0:
        return "json"
    raise NotAcceptable(f"the files are served as {MEDIA['json']} and as {MEDIA['ndjson']}; Accept takes neither")


def _liking(ranges: Mapping[str, float], media: str) -> float:
    for pattern in (media, "application/*", "*/*"):
        if pattern in ranges:
            return ranges[pattern]
    return 0.0


def _wait(prefer: str) -> int:
    """Seconds of the first `wait` preference. RFC 7240: what cannot be understood is ignored."""
    for name, value in _preferences(prefer):
        if name == "wait":
            return min(int(value), MAX_WAIT) if re.fullmatch("[0-9]{1,9}", value) else 0
    return 0


def _preferences(prefer: str) -> Iterator[tuple[str, str]]:
    for item in _ITEM.findall(prefer):
        name, _, value = _PARAM.findall(item)[0].partition("=") if item.strip(" ;") else ("", "", "")
        yield name.strip().lower(), value.strip().strip('"')


def _qualities(value: str) -> dict[str, float]:
    """`a;q=0.5, b` → {a: 0.5, b: 1}; other parameters are left aside, a q that is none counts as 0."""
    found: dict[str, float] = {}
    for item in _ITEM.findall(value):
        name, *params = (part.strip().lower() for part in item.split(";"))
        if not name:
            continue
        weights = [param[2:].strip() for param in params if param.startswith("q=")]
        found[name] = (float(weights[0]) if _Q.fullmatch(weights[0]) else 0.0) if weights else 1.0
    return found
