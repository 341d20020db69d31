"""A request as the policies read it: method, target, headers, and every path that a server may take it for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

from agent.gateway.http.heads import NO_BODY, RequestHead, tokens

DECODINGS = 8
"""How often a path is percent-decoded at most. A server does it once or twice."""
PREFIX = "/__preview/"
"""The gateway's own endpoints. No app can have a page there: Next does not route folders that begin with `_`."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case name → value. Repeated fields are joined by ", "."""
    upgrade: bool = False
    """The request is a WebSocket handshake."""

    @cached_property
    def path(self) -> str:
        """The path as it was sent, without query and fragment."""
        return re.split("[?#]", self.target, maxsplit=1)[0]

    @cached_property
    def path_variants(self) -> tuple[tuple[str, ...], ...]:
        """The path's segments, decoded and in lower case, both with dot segments kept and with them resolved."""
        return _path_variants(self.path)

    @cached_property
    def internal(self) -> bool:
        """Whether the path belongs to Next's development server rather than to the app."""
        return any(name == "_next" or name.startswith("__nextjs") for names in self.path_variants for name in names)

    @cached_property
    def navigation(self) -> bool:
        """Whether the response will be shown as a page. Browsers say so in Sec-Fetch-Mode; of other clients, a GET that
        accepts HTML counts.
        """
        mode = self.headers.get("sec-fetch-mode")
        if self.upgrade or self.internal or self.method not in {"GET", "HEAD", "POST"}:
            return False
        if mode is not None:
            return mode == "navigate"
        return self.method == "GET" and "text/html" in self.headers.get("accept", "") and "rsc" not in self.headers


def from_head(head: RequestHead) -> Request:
    """The request that `head` describes."""
    headers: dict[str, str] = {}
    for key, raw in head.fields:
        name, value = key.decode().lower(), raw.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    # A server may ignore an upgrade to another protocol, such as the h2c that curl asks for (RFC 9110, 7.8).
    upgrade = (
        head.method == "GET"
        and head.version == "1.1"
        and head.body == NO_BODY
        and b"upgrade" in tokens(head.fields, b"connection")
        and b"websocket" in tokens(head.fields, b"upgrade")
    )
    return Request(head.method, head.target, headers, upgrade)


def _path_variants(path: str) -> tuple[tuple[str, ...], ...]:
    for _ in range(DECODINGS):
        decoded = unquote(path, "latin-1")
        if decoded == path:
            break
        path = decoded
    plain = re.sub(r"[\x00-\x1f\x7f]", "", path).replace("\\", "/").lower()
    unresolved = tuple(name for name in re.split("[/?#]", plain) if name)
    resolved: list[str] = []
    for name in unresolved:
        if name == "..":
            del resolved[-1:]
        elif name != ".":
            resolved.append(name)
    return (unresolved, tuple(resolved))
