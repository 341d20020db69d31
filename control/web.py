"""The aiohttp application: routes, authorization, errors as JSON, and request bodies read within limits.

Every path that contains an app id is authorized in a middleware, so a new route cannot omit it.

What must not live here: the endpoints themselves (routes.py, blobs.py, activity.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import structlog
from aiohttp import web

from control.auth.keys import MachineCheck, authorize
from control.errors import BadRequest, RequestError, TooLarge
from control.storage.store import Store

log = structlog.get_logger()

APP = "/api/vendor/apps/{app_id}"
STALL_SECONDS = 30.0
"""How long a client may neither send nor read before its connection is closed."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(store: Store, routes: list[web.RouteDef], machine: MachineCheck | None = None) -> web.Application:
    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as refused:
            return failure(refused.status, str(refused), refused.headers)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            allow = {name: value for name, value in error.headers.items() if name == "Allow"}
            return failure(error.status, f"{request.method} {request.path}: {error.reason}", allow)
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("web.failed", method=request.method, path=request.path)
            return failure(500, "internal error in the control plane; see its log")

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        app_id = request.match_info.get("app_id")
        if app_id is not None:
            await authorize(store, app_id, request.headers.get("Authorization"), machine)
        return await handler(request)

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"success": True})

    app = web.Application(middlewares=[errors, gate])
    app.add_routes([web.get("/healthz", healthz), *routes])
    return app


def failure(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"success": False, "error": message}, status=status, headers=headers)


async def read_body(request: web.Request, limit: int) -> bytes:
    """Return the decompressed body. Raise TooLarge above `limit` bytes, BadRequest if it is incomplete."""
    too_large = TooLarge(f"the body is over {limit:,} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            async with asyncio.timeout(STALL_SECONDS):
                part = await request.content.readany()
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > limit:
                raise too_large
            parts.append(part)
    except TimeoutError:
        raise BadRequest(f"no more of the body arrived for {STALL_SECONDS:.0f} s") from None
    except (aiohttp.ClientPayloadError, aiohttp.http_exceptions.HttpProcessingError, web.RequestPayloadError) as error:
        raise BadRequest(f"the body is incomplete or not encoded as its headers say: {error}") from None
