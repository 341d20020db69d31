"""Decides what happens to one request, from what is known of the dev server. Pure.

A development server offers its developer things that nobody with the preview's address may use: restarting it, opening
an editor, attaching a debugger, its MCP server, source maps of server code. Those are blocked; what its error overlay
needs is forwarded. A path is checked in every form that a server might read it as (decoded, with and without dots
resolved, in lower case, behind any prefix), and passes only if all forms are allowed.

What must not live here: what a page says (pages/), and which requests keep the machine awake (activity.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from agent.gateway.policy.request import PREFIX, Request
from agent.status import Snapshot, blocked

Endpoint = Literal["events", "log", "shim", "live", "asleep"]


@dataclass(frozen=True, slots=True)
class Forward:
    """Forward the request to the dev server."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The dev server is restarting: wait, and decide again when the facts have changed."""


@dataclass(frozen=True, slots=True)
class WakingPage:
    """503 with the waking page."""


@dataclass(frozen=True, slots=True)
class FailedPage:
    """503 with the page that says what is wrong."""


@dataclass(frozen=True, slots=True)
class HungRoutePage:
    """503 with the page that says that rendering this route never finished."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """503 in plain text, for requests whose response is not shown as a page."""

    reason: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """404, as if the path did not exist."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to the path of the app's first page, where the app has nothing at `/`."""

    path: str


@dataclass(frozen=True, slots=True)
class OwnEndpoint:
    """One of the gateway's own endpoints."""

    endpoint: Endpoint


Decision = Forward | Hold | WakingPage | FailedPage | HungRoutePage | Unavailable | Blocked | Redirect | OwnEndpoint

# What Next's error overlay requests. The rest of `__nextjs…` acts on the machine or shows server code.
_OVERLAY = frozenset(
    {
        "__nextjs_original-stack-frame",
        "__nextjs_original-stack-frames",
        "__nextjs_font",
        "__nextjs_devtools_config",
        "__nextjs_disable_dev_indicator",
    }
)
_NEXT_PATHS_BLOCKED = frozenset({("_next", "mcp"), ("_next", "development", "request-insights")})
# Paths of other dev servers that act on the machine: opening an editor, rebuilding, a terminal.
_NAMES_BLOCKED = frozenset(
    {"__open-in-editor", "__open-stack-frame-in-editor", "__nuxt_devtools__", "__vite_devtools__", "__devtools__"}
)
_PAIRS_BLOCKED = frozenset({("webpack-dev-server", "invalidate"), ("webpack-dev-server", "open-editor")})


def decide(request: Request, now: Snapshot) -> Decision:
    """What to do with `request` in the state `now`."""
    if request.path.startswith(PREFIX):
        return _own_endpoint(request, now)
    if is_blocked(request):
        return Blocked()
    if blocked(now) is not None:
        return FailedPage() if request.navigation else Unavailable("the preview cannot start")
    if is_hung_route(request.path, now) and not request.internal and not request.upgrade:
        return (
            HungRoutePage()
            if request.navigation
            else Unavailable(f"rendering {request.path} never finished; it is tried again when a file changes")
        )
    if now.dev_server.state in {"ready", "unresponsive"} and not now.stopping:
        start = now.dev_server.start_path
        if start != "/" and request.path == "/" and request.navigation and request.method != "POST":
            return Redirect(start)
        return Forward()
    if request.navigation:
        return WakingPage()
    return Hold() if _is_restarting(now) else Unavailable("the preview is starting")


def is_hung_route(path: str, now: Snapshot) -> bool:
    """Whether `path` is a route that has kept the dev server busy without end. A trailing slash makes no difference."""
    return bool(now.dev_server.hung_routes) and _route(path) in map(_route, now.dev_server.hung_routes)


def is_blocked(request: Request) -> bool:
    """Whether the path is one that must not be reachable from outside."""
    return any(_blocks(request.method, names) for names in request.path_variants)


def _route(path: str) -> str:
    return unquote(path).rstrip("/") or "/"


def _is_restarting(now: Snapshot) -> bool:
    """Then pages may be open whose requests can wait and would break if refused. A navigation is shown the waking page
    instead.
    """
    dev = now.dev_server
    return not now.stopping and (dev.state == "restarting" or (dev.state == "starting" and dev.restarts > 0))


def _own_endpoint(request: Request, now: Snapshot) -> Decision:
    name = request.path.removeprefix(PREFIX)
    if request.upgrade:
        return OwnEndpoint("live") if name == "live" else Blocked()
    if request.method == "GET":
        match name:
            case "events":
                return OwnEndpoint("events")
            case "shim.js":
                return OwnEndpoint("shim")
            case "asleep":
                return OwnEndpoint("asleep")
            # The dev server's output may contain what an app prints about its users, so it is available only while
            # there is no app to see.
            case "log" if now.dev_server.state != "ready":
                return OwnEndpoint("log")
    return Blocked()


def _blocks(method: str, names: tuple[str, ...]) -> bool:
    for at, name in enumerate(names):
        if (name.startswith("__nextjs") and name not in _OVERLAY) or name in _NAMES_BLOCKED:
            return True
        if names[at : at + 2] in _PAIRS_BLOCKED:
            return True
        if name != "_next":
            continue
        if any(names[at : at + len(path)] == path for path in _NEXT_PATHS_BLOCKED):
            return True
        # Browsers only read below _next: bundles, images and route data.
        if method not in {"GET", "HEAD", "OPTIONS"}:
            return True
    return False
