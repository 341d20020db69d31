"""Has the dev server compile the route that a waiting browser shows, before the browser asks for it itself.

Next compiles a route when it is first asked for. The supervisor's own readiness check did that for `/` only.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agent.errors import AgentError
from agent.gateway.http.forwarded_headers import Way, to_upstream
from agent.gateway.http.heads import parse_request, write_request
from agent.gateway.http.proxy import read_head
from agent.gateway.http.upstream import Upstream
from agent.gateway.policy.routing import Request, off_limits

WARM_SECONDS = 30.0


async def warm(upstream: Upstream, target: str, *, host: str, way: Way) -> None:
    """Ask for `target` once, as a browser without cookies would; whatever comes of it is for the browser to see."""
    request = Request("GET", target, {"sec-fetch-mode": "navigate"})
    if request.path in {"", "/"} or off_limits(request) or not request.navigation:
        return
    with suppress(AgentError, TimeoutError):
        # Both come from the browser: they pass the same reading that its own requests do.
        head = parse_request(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html".encode("latin-1", "replace"))
        fields = to_upstream(head, way)
        async with asyncio.timeout(WARM_SECONDS), upstream.link(used=False) as link:
            link.wire.write(write_request(head.method, head.target, head.version, fields))
            await read_head(link.wire)
