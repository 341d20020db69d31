"""The messages between an open page and the gateway, and which pages may send them. Pure.

The script in the app's pages (pages/assets/shim.js) reports over one socket whether the page is on screen and, at most
once in 15 s and only while it is, that a person used it. The app's own code can send the same messages; it can only
keep its own machine awake with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from agent.errors import AgentError

Device = Literal["pointer", "key", "wheel", "touch"]

SLEEP = b"sleep"
"""The only message to a page: replace yourself by the asleep page."""
PATH_LENGTH = 200


class UnknownMessage(AgentError):
    """A message that the script does not send."""

    code: ClassVar[str] = "unknown_message"


@dataclass(frozen=True, slots=True)
class Shown:
    """The page is on screen: it was opened, or its tab was selected again."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """The page's tab or window is in the background."""


@dataclass(frozen=True, slots=True)
class Input:
    """A person used the page."""

    device: Device


Signal = Shown | Hidden | Input

_SIGNALS: Mapping[bytes, Signal] = {
    b"visible": Shown(),
    b"hidden": Hidden(),
    b"input pointer": Input("pointer"),
    b"input key": Input("key"),
    b"input wheel": Input("wheel"),
    b"input touch": Input("touch"),
}


def parse_signal(message: bytes) -> Signal:
    """The meaning of one message. Raises UnknownMessage."""
    try:
        return _SIGNALS[message]
    except KeyError:
        raise UnknownMessage("unknown message") from None


def is_allowed_origin(headers: Mapping[str, str]) -> bool:
    """Whether a handshake with these (lower-case) headers comes from a page of this preview.

    Browsers always send Origin with a handshake. Without one the client is a program, which no person uses: refused.
    An Origin of another host is refused too. `null` is a page in a sandboxed iframe, as editors use them. It is
    allowed, because a site that opens such an iframe could as well open the preview itself, which counts for more.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    if origin == "null":
        return True
    hosts = {headers.get("host", ""), headers.get("x-forwarded-host", "").partition(",")[0].strip()} - {""}
    scheme, _, host = origin.partition("://")
    return scheme in {"http", "https"} and host.lower() in {name.lower() for name in hosts}


def page_path(target: str) -> str:
    """The path of the page that opens the socket: `/about` for `/__preview/live?path=/about`; "/" if it names none."""
    path = parse_qs(urlsplit(target).query).get("path", ["/"])[0]
    plain = "".join(letter for letter in path if letter.isprintable())
    return plain[:PATH_LENGTH] if plain.startswith("/") else "/"
