"""One request and what is known of the dev server → what is done about it. Pure.

What a development server offers to a developer at the same machine is not offered to whoever has the preview's
address: restarting it, opening an editor, attaching a debugger, asking its MCP server, reading source maps of server
code. Its overlay's own needs pass. The rule reads the path in every way a server might read it (decoded, with dots
resolved, in lower case, behind any prefix) and lets through only what is allowed in all of them.

What must not live here: what a page says (pages/), and which requests keep the machine awake (classes.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import unquote

from agent.status import Snapshot, blocked

DECODINGS = 8
"""How often a path is decoded at most: a server does it once or twice."""
PREFIX = "/__preview/"
"""The gateway's own endpoints. Nothing of an app can live there: Next routes no folder that begins with `_`."""

Endpoint = Literal["events", "log", "shim", "live", "asleep"]


@dataclass(frozen=True)
class Request:
    """`headers` has lower-case names; a field that came twice is joined by ", ". `upgrade`: it asks for a WebSocket."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    upgrade: bool = False

    @cached_property
    def path(self) -> str:
        """What a person would call the path: as it was sent, without query and fragment."""
        return re.split("[?#]", self.target, maxsplit=1)[0]

    @cached_property
    def readings(self) -> tuple[tuple[str, ...], ...]:
        """The path's segments as a careless and as a careful server would read them."""
        return _readings(self.path)

    @cached_property
    def internal(self) -> bool:
        """Does it belong to Next's development server rather than to the app?"""
        return any(name == "_next" or name.startswith("__nextjs") for names in self.readings for name in names)

    @cached_property
    def navigation(self) -> bool:
        """Will the answer be shown to a person as a page? Browsers say so; of others a GET that prefers HTML does."""
        mode = self.headers.get("sec-fetch-mode")
        if self.upgrade or self.internal or self.method not in {"GET", "HEAD", "POST"}:
            return False
        if mode is not None:
            return mode == "navigate"
        return self.method == "GET" and "text/html" in self.headers.get("accept", "") and "rsc" not in self.headers


@dataclass(frozen=True, slots=True)
class Forward:
    """To the dev server."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The dev server is on its way back: decide again when the facts have changed."""


@dataclass(frozen=True, slots=True)
class WaitPage:
    """503 with the waking page."""


@dataclass(frozen=True, slots=True)
class FailedPage:
    """503 with the page that says what is wrong."""


@dataclass(frozen=True, slots=True)
class HungPage:
    """503 with the page that says that this route kept the dev server busy without an end."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """503 in plain text, for whatever is not shown as a page."""

    reason: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """404, as if it were not there."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A redirect to the path of the app's first page, where the app has nothing at `/`."""

    path: str


@dataclass(frozen=True, slots=True)
class Own:
    """One of the gateway's own endpoints."""

    endpoint: Endpoint


Decision = Forward | Hold | WaitPage | FailedPage | HungPage | Unavailable | Blocked | Elsewhere | Own

# What the error overlay in the browser asks for. The rest of `__nextjs…` acts on the machine or shows server code.
_OVERLAY = frozenset(
    {
        "__nextjs_original-stack-frame",
        "__nextjs_original-stack-frames",
        "__nextjs_font",
        "__nextjs_devtools_config",
        "__nextjs_disable_dev_indicator",
    }
)
_NEVER = frozenset({("_next", "mcp"), ("_next", "development", "request-insights")})
# What other dev servers offer that acts on the machine: opening an editor, building anew, a terminal.
_ACTING = frozenset(
    {"__open-in-editor", "__open-stack-frame-in-editor", "__nuxt_devtools__", "__vite_devtools__", "__devtools__"}
)
_ACTING_BELOW = frozenset({("webpack-dev-server", "invalidate"), ("webpack-dev-server", "open-editor")})


def decide(request: Request, now: Snapshot) -> Decision:
    """What to do with `request` while `now` is true."""
    if request.path.startswith(PREFIX):
        return _own(request, now)
    if off_limits(request):
        return Blocked()
    if blocked(now) is not None:
        return FailedPage() if request.navigation else Unavailable("the preview cannot start")
    if kept_away(request.path, now) and not request.internal and not request.upgrade:
        return (
            HungPage() if request.navigation else Unavailable(f"{request.path} never finishes: it waits for a change")
        )
    if now.dev_server.state in {"ready", "unresponsive"} and not now.stopping:
        start = now.dev_server.start_path
        if start != "/" and request.path == "/" and request.navigation and request.method != "POST":
            return Elsewhere(start)
        return Forward()
    if request.navigation:
        return WaitPage()
    return Hold() if _coming_back(now) else Unavailable("the preview is starting")


def kept_away(path: str, now: Snapshot) -> bool:
    """Is `path` a route that kept the dev server busy without an end? A slash at its end makes no other route."""
    return bool(now.dev_server.hung_routes) and _route(path) in map(_route, now.dev_server.hung_routes)


def _route(path: str) -> str:
    return unquote(path).rstrip("/") or "/"


def _coming_back(now: Snapshot) -> bool:
    """Is it being started again? Then there may be pages whose requests can wait, and would break if refused. A
    person who opens a page meanwhile is shown what goes on instead.
    """
    dev = now.dev_server
    return not now.stopping and (dev.state == "restarting" or (dev.state == "starting" and dev.restarts > 0))


def off_limits(request: Request) -> bool:
    """May nobody outside have this?"""
    return any(_off_limits(request.method, names) for names in request.readings)


def _own(request: Request, now: Snapshot) -> Decision:
    name = request.path.removeprefix(PREFIX)
    if request.upgrade:
        return Own("live") if name == "live" else Blocked()
    if request.method == "GET":
        match name:
            case "events":
                return Own("events")
            case "shim.js":
                return Own("shim")
            case "asleep":
                return Own("asleep")
            # The dev server's output may hold what an app prints about its users: it is shown only while it is all
            # that there is to see.
            case "log" if now.dev_server.state != "ready":
                return Own("log")
    return Blocked()


def _off_limits(method: str, names: tuple[str, ...]) -> bool:
    for at, name in enumerate(names):
        if (name.startswith("__nextjs") and name not in _OVERLAY) or name in _ACTING:
            return True
        if names[at : at + 2] in _ACTING_BELOW:
            return True
        if name != "_next":
            continue
        if any(names[at : at + len(path)] == path for path in _NEVER):
            return True
        # Bundles, images and route data are read. Nothing in the browser writes below _next.
        if method not in {"GET", "HEAD", "OPTIONS"}:
            return True
    return False


def _readings(path: str) -> tuple[tuple[str, ...], ...]:
    for _ in range(DECODINGS):
        decoded = unquote(path, "latin-1")
        if decoded == path:
            break
        path = decoded
    plain = re.sub(r"[\x00-\x1f\x7f]", "", path).replace("\\", "/").lower()
    careless = tuple(name for name in re.split("[/?#]", plain) if name)
    careful: list[str] = []
    for name in careless:
        if name == "..":
            del careful[-1:]
        elif name != ".":
            careful.append(name)
    return (careless, tuple(careful))
