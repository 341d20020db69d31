"""Classifies requests by whether they show that somebody uses the app. Pure.

Navigations, and what a page asks of the app, keep the machine awake. What a page loads to draw itself follows from
those and adds nothing. Sockets that reconnect, prefetches, crawlers and health checks show nothing.
"""

from __future__ import annotations

import re
from typing import Literal, TypeGuard, get_args

from agent.gateway.policy.request import PREFIX, Request

Awake = Literal["navigation", "app_request"]
"""The classes that may keep the machine awake."""
Activity = Awake | Literal["asset", "hmr", "probe", "dev_internal"]

AWAKE: frozenset[Activity] = frozenset(get_args(Awake))

PROBE_HEADER = "x-preview-probe"
"""A client that must neither wake the machine nor keep it awake sends this header, with any value."""

_SUBRESOURCES = frozenset(
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
    """The class of one request. A WebSocket counts once, when it is opened."""
    if request.path.startswith(PREFIX):
        return "dev_internal"
    if request.internal:
        return _classify_internal(request)
    if _is_vite_client(request):
        return "hmr"
    if _is_probe(request):
        return "probe"
    headers = request.headers
    if request.upgrade:
        return "app_request"
    if headers.get("sec-fetch-dest") in _SUBRESOURCES or "next-router-prefetch" in headers:
        return "asset"
    if request.navigation:
        return "navigation"
    if request.method == "GET" and "sec-fetch-dest" not in headers and _FILES.search(request.path.lower()):
        return "asset"
    return "app_request"


def may_keep_awake(activity: Activity) -> TypeGuard[Awake]:
    return activity in AWAKE


def attended(request: Request, *, visible: bool) -> bool:
    """Whether there is evidence of a person. Browsers mark a navigation that a person started (Sec-Fetch-User); any
    other request counts only while a page is on screen (`visible`).
    """
    return visible or (request.navigation and request.headers.get("sec-fetch-user") == "?1")


def _classify_internal(request: Request) -> Activity:
    _, names = request.path_variants
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


def _is_vite_client(request: Request) -> bool:
    """Whether Vite's client sent this on its own: for its socket, or to see whether the server is back."""
    protocols = request.headers.get("sec-websocket-protocol", "") if request.upgrade else ""
    own = protocols in {"vite-hmr", "vite-ping"}
    return own or request.headers.get("accept") == "text/x-vite-ping"


def _is_probe(request: Request) -> bool:
    headers = request.headers
    if PROBE_HEADER in headers or "prefetch" in headers.get("sec-purpose", headers.get("purpose", "")):
        return True
    # Browsers send Sec-Fetch-Mode. A client without it is a program, and some programs only monitor.
    if "sec-fetch-mode" in headers:
        return False
    return request.method == "HEAD" or bool(_ROBOTS.search(headers.get("user-agent", "")))
