"""What an open page says about the person before it, and whether it may. Pure.

The script that the gateway puts into the app's pages (pages/shim.js) tells over one socket whether the page is on
screen and, at most once in 15 s and only then, that somebody used it. The app's own code can say the same things: it
keeps only its own machine awake with that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from agent.errors import AgentError

Device = Literal["pointer", "key", "wheel", "touch"]

SLEEP = b"sleep"
"""The one thing that a page is told: turn into the asleep page."""
PATH_LENGTH = 200


class Unknown(AgentError):
    """A message that no page of ours sends."""

    code: ClassVar[str] = "unknown_message"


@dataclass(frozen=True, slots=True)
class Shown:
    """The page is on screen: it was opened, or has come back."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """The page is behind another one, or its window is."""


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


def signal(message: bytes) -> Signal:
    """Read one message; raises Unknown."""
    try:
        return _SIGNALS[message]
    except KeyError:
        raise Unknown("a message that is none of ours") from None


def may_speak(headers: Mapping[str, str]) -> bool:
    """Does this handshake (lower-case headers) come from a page of this preview?

    Every browser sends Origin with it. Without one it is a program, and no program sees a person: refused. Another
    host's page is a stranger: refused. `null` is a page in a sandboxed frame, as editors use them, and is let in:
    whoever can open such a frame can as well open the preview itself, which counts for more.
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
    """The path of the page that opens the socket, as it says itself: `/__preview/live?path=/about` is `/about`."""
    path = parse_qs(urlsplit(target).query).get("path", ["/"])[0]
    plain = "".join(letter for letter in path if letter.isprintable())
    return plain[:PATH_LENGTH] if plain.startswith("/") else "/"
