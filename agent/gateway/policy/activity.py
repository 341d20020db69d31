"""Which requests show that somebody is there. Pure.

A person's page, and what that page asks of the app, keep a machine awake. What a page fetches to draw itself follows
from those and adds nothing; sockets that reconnect, prefetches, crawlers and health checks say nothing at all.
"""

from __future__ import annotations

import re
from typing import Literal, TypeGuard, get_args

from agent.gateway.policy.routing import PREFIX, Request

Awake = Literal["navigation", "app_request"]
"""The classes that may keep the machine awake."""
Activity = Awake | Literal["asset", "hmr", "probe", "dev_internal"]

AWAKE: frozenset[Activity] = frozenset(get_args(Awake))

PROBE_HEADER = "x-preview-probe"
"""Whoever looks without wanting to wake or hold the machine sends it, with any value."""

_DRAWN = frozenset(
    {
        "audio",
        "audioworklet",
        "font",
        "image",
        "manifest",
        "paintworklet",
        "script",
        "serviceworker",
        "sharedworker",
        "style",
        "track",
        "video",
        "worker",
        "xslt",
    }
)
_FILES = re.compile(
    r"\.(?:astro|avif|bmp|css|eot|gif|ico|jpe?g|[cm]?[jt]sx?|less|map|mp3|mp4|ogg|otf|png|s[ac]ss|svelte|svg|ttf|txt|vue"
    r"|wasm|webm|webmanifest|webp|woff2?)$|^/(?:@vite|@id|@fs|@react-refresh|node_modules)(?:/|$)"
)
_ROBOTS = re.compile(
    r"bot\b|crawl|spider|slurp|externalhit|linkexpanding|uripreview|whatsapp|uptime|pingdom|statuscake|monitor"
    r"|health[ -]?check|kube-probe|googlehc|consul",
    re.IGNORECASE,
)


def classify(request: Request) -> Activity:
    """The class of one request; a WebSocket counts once, when it is opened."""
    if request.path.startswith(PREFIX):
        return "dev_internal"
    if request.internal:
        return _of_next(request)
    if _of_vite(request):
        return "hmr"
    if _probe(request):
        return "probe"
    headers = request.headers
    if request.upgrade:
        return "app_request"
    if headers.get("sec-fetch-dest") in _DRAWN or "next-router-prefetch" in headers:
        return "asset"
    if request.navigation:
        return "navigation"
    if request.method == "GET" and "sec-fetch-dest" not in headers and _FILES.search(request.path.lower()):
        return "asset"
    return "app_request"


def may_keep_awake(activity: Activity) -> TypeGuard[Awake]:
    return activity in AWAKE


def attended(request: Request, *, visible: bool) -> bool:
    """Is there evidence that a person is behind this request? A browser says which navigations somebody asked for;
    anything else has somebody before it only while a page is on screen (`visible`).
    """
    return visible or (request.navigation and request.headers.get("sec-fetch-user") == "?1")


def _of_next(request: Request) -> Activity:
    _, names = request.readings
    if "_next" not in names:
        return "dev_internal"
    below = names[names.index("_next") + 1 :]
    if below[:1] in {("hmr",), ("webpack-hmr",)} or (below and ".hot-update." in below[-1]):
        return "hmr"
    match below[:1]:
        case ("static",) | ("image",):
            return "asset"
        case ("data",):
            return "app_request"
        case _:
            return "dev_internal"


def _of_vite(request: Request) -> bool:
    """Whether Vite's client asks on its own: for its socket, or whether the server is back."""
    protocols = request.headers.get("sec-websocket-protocol", "") if request.upgrade else ""
    own = protocols in {"vite-hmr", "vite-ping"}
    return own or request.headers.get("accept") == "text/x-vite-ping"


def _probe(request: Request) -> bool:
    headers = request.headers
    if PROBE_HEADER in headers or "prefetch" in headers.get("sec-purpose", headers.get("purpose", "")):
        return True
    # A browser says Sec-Fetch-Mode; what does not is a program, and some programs only look.
    if "sec-fetch-mode" in headers:
        return False
    return request.method == "HEAD" or bool(_ROBOTS.search(headers.get("user-agent", "")))
