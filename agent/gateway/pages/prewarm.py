"""Has the dev server compile the route that a waiting browser shows, before the browser requests it.

Next compiles a route on its first request. The supervisor's readiness check has done that for the start page only.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agent.errors import AgentError
from agent.gateway.http.forwarded_headers import ForwardContext, upstream_fields
from agent.gateway.http.heads import parse_request, serialize_request
from agent.gateway.http.proxy import read_head
from agent.gateway.http.upstream import Upstream
from agent.gateway.policy.request import Request
from agent.gateway.policy.routing import is_blocked

PREWARM_SECONDS = 30.0


async def prewarm(upstream: Upstream, target: str, *, host: str, context: ForwardContext) -> None:
    """Request `target` once, as a browser without cookies would. The response is ignored: the browser will see it."""
    request = Request("GET", target, {"sec-fetch-mode": "navigate"})
    if request.path in {"", "/"} or is_blocked(request) or not request.navigation:
        return
    with suppress(AgentError, TimeoutError):
        # Target and host come from the browser, so they are validated like its own requests.
        head = parse_request(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html".encode("latin-1", "replace"))
        fields = upstream_fields(head, context)
        async with asyncio.timeout(PREWARM_SECONDS), upstream.connection(reuse=False) as connection:
            connection.transport.write(serialize_request(head.method, head.target, head.version, fields))
            await read_head(connection.transport)
