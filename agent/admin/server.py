"""The HTTP server on AGENT_PORT (contract, section 4).

Responses are made from the board's snapshot, and `Actions` return at once, so no handler waits for another room.
Requests here do not count as activity, so health checks do not keep the machine awake. Every error is JSON,
`{"success": false, "error": "…"}`.

Nine fixed paths need no application and no router. Importing all of `aiohttp.web` would cost 1 MiB more on every
machine, so this room imports only the parts of its low-level server.

What must not live here: how facts are shown (status_json.py, metrics.py), who may do what (access.py).
"""

from __future__ import annotations

import asyncio
import platform
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp
import psutil
import structlog
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from agent.admin import status_json
from agent.admin.access import Refusal, app_code_refusal, refusal
from agent.admin.events import Logs, events, follow_logs, text
from agent.admin.listener import ALL_INTERFACES, listen, listen_error
from agent.admin.peer_user import is_app_code
from agent.admin.streams import Streams
from agent.clock import Clock
from agent.config import Secret
from agent.status import Snapshot, missing, unhealthy
from agent.status_board import StatusBoard

log = structlog.get_logger()

LOG_LINES = 1_000
STOP_SECONDS = 0.1
"""aiohttp waits this long for open responses and, after it has cancelled them, as long again."""
KEEPALIVE_SECONDS = 75.0

READING = ("GET", "HEAD")
ACTING = ("POST",)

ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""A response is outdated at once, so it is not cached. Without nosniff a browser guesses the type of /logs, and shows
a followed log only when it has read enough for the guess."""

Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions that POST requests trigger. All return at once."""

    sync: Callable[[], None]
    restart: Callable[[str], None]
    """Takes the reason shown in the log and in /status."""
    sleep: Callable[[], str | None]
    """Returns why the machine cannot sleep, or None."""


class Admin:
    def __init__(
        self,
        *,
        board: StatusBoard,
        key: Secret | None,
        logs: Logs,
        actions: Actions,
        clock: Clock,
        app_user: int | None = None,
    ) -> None:
        """`app_user`: the uid that runs the app's code, if that is not the agent's own user."""
        self._board = board
        self._key = key
        self._logs = logs
        self._actions = actions
        self._clock = clock
        self._app_user = app_user
        self._started = clock.monotonic()
        self._versions = {"python": platform.python_version(), "aiohttp": aiohttp.__version__}
        self._streams = Streams()
        self._server: Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._paths: Mapping[str, tuple[tuple[str, ...], Handler]] = {
            "/healthz": (READING, self._healthz),
            "/readyz": (READING, self._readyz),
            "/status": (READING, self._status),
            "/metrics": (READING, self._metrics),
            "/events": (READING, self._events),
            "/logs": (READING, self._log),
            "/sync": (ACTING, self._sync),
            "/restart": (ACTING, self._restart),
            "/sleep": (ACTING, self._sleep),
        }

    @property
    def port(self) -> int:
        """The port in use: the one given to `start`, or the one that the system chose for 0."""
        if not self._listeners:
            raise RuntimeError("Admin.port is known between start() and stop()")
        port: int = self._listeners[0].sockets[0].getsockname()[1]
        return port

    async def start(self, port: int, host: str = ALL_INTERFACES) -> None:
        """Listen. On failure raises ConfigError (Occupied if another process has the port), with nothing left open."""
        server = self._server = Server(
            self._respond,
            access_log=None,
            handler_cancellation=True,  # ends a stream when its client disconnects
            keepalive_timeout=KEEPALIVE_SECONDS,
        )
        try:
            self._listeners = await listen(server, host, port)
        except OSError as error:
            await self.stop()
            raise listen_error(port, error) from error

    async def stop(self) -> None:
        """Stop listening and end all connections and streams. Idempotent, also after a cancellation."""
        if self._server is not None:
            for listener in self._listeners:
                listener.close()
            self._listeners = []
            self._streams.close()
            await asyncio.sleep(0)  # lets requests that have arrived start, so that they do not count as idle
            self._server.pre_shutdown()
            await self._server.shutdown(STOP_SECONDS)
            self._server = None

    async def _respond(self, request: BaseRequest) -> StreamResponse:
        """Respond, with every error in the contract's format."""
        try:
            response = await self._dispatch(request)
        except Exception:
            if request.writer.output_size:
                raise  # the response has begun: aiohttp logs the error and closes the connection
            log.exception("admin.request_failed", path=request.path)
            response = _failure(500, "the agent failed to respond; see its log")
        if not response.prepared:
            response.headers.update(ALWAYS)
        return response

    async def _dispatch(self, request: BaseRequest) -> StreamResponse:
        why = app_code_refusal(request.path, request.headers.get("Authorization"), self._key)
        if why is not None and self._app_user is not None and await is_app_code(request.transport, self._app_user):
            return _unauthorized(why)
        if request.path not in self._paths:
            return _failure(404, f"there is no {request.path} here")
        methods, handler = self._paths[request.path]
        if request.method in methods:
            return await handler(request)
        allowed = ", ".join(methods)
        response = _failure(405, f"{request.path} takes {allowed}, not {request.method}")
        response.headers["Allow"] = allowed
        return response

    async def _healthz(self, request: BaseRequest) -> Response:
        reason = unhealthy(self._board.snapshot)
        return _json({"success": True}) if reason is None else _failure(503, reason)

    async def _readyz(self, request: BaseRequest) -> Response:
        waits = missing(self._board.snapshot)
        return _failure(503, "; ".join(waits), missing=waits) if waits else _json({"success": True})

    async def _status(self, request: BaseRequest) -> Response:
        uptime = self._clock.monotonic() - self._started
        return _json({**self._show(self._board.snapshot), "uptime_seconds": round(uptime, 3)})

    async def _metrics(self, request: BaseRequest) -> Response:
        from agent.admin import metrics  # noqa: PLC0415  saves 1 MiB on a machine that is never scraped

        process = psutil.Process()
        with process.oneshot():
            times = process.cpu_times()
            scrape = metrics.Scrape(
                now=self._board.snapshot,
                versions=self._versions,
                rss_bytes=process.memory_info().rss,
                cpu_seconds=times.user + times.system,
                open_fds=process.num_fds(),
            )
        return Response(body=metrics.render(scrape), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _events(self, request: BaseRequest) -> StreamResponse:
        return await self._stream(request, "text/event-stream", lambda: events(self._board, self._show))

    async def _log(self, request: BaseRequest) -> StreamResponse:
        lines, follow = request.query.get("lines", str(LOG_LINES)), request.query.get("follow", "0")
        if not re.fullmatch(r"[0-9]{1,9}", lines):
            return _failure(400, f"lines is {lines!r} (it takes a whole number; the last {LOG_LINES} lines are kept)")
        if follow not in {"0", "1"}:
            return _failure(400, f"follow is {follow!r} (it takes 1, or 0)")
        last = min(int(lines), LOG_LINES)
        if follow == "1":
            return await self._stream(request, "text/plain; charset=utf-8", lambda: follow_logs(self._logs, last))
        return Response(body=text(self._logs.lines(), last), content_type="text/plain", charset="utf-8")

    async def _sync(self, request: BaseRequest) -> Response:
        refused = self._refused(request)
        if refused is None:
            log.info("admin.sync_asked", remote=request.remote)
            self._actions.sync()
        return refused or _json({"success": True}, 202)

    async def _restart(self, request: BaseRequest) -> Response:
        refused = self._refused(request)
        if refused is None:
            log.info("admin.restart_asked", remote=request.remote)
            self._actions.restart("asked for by POST /restart")
        return refused or _json({"success": True}, 202)

    async def _sleep(self, request: BaseRequest) -> Response:
        refused = self._refused(request)
        if refused is None:
            log.info("admin.sleep_asked", remote=request.remote)
            reason = self._actions.sleep()
            refused = None if reason is None else _failure(409, reason)
        return refused or _json({"success": True}, 202)

    def _show(self, now: Snapshot) -> status_json.Facts:
        return status_json.facts(now, self._versions, self._clock.wall())

    def _refused(self, request: BaseRequest) -> Response | None:
        why = refusal(request.headers.get("Authorization"), self._key)
        if why is not None:
            return _unauthorized(why)
        return _failure(503, "the agent is stopping") if self._board.snapshot.stopping else None

    async def _stream(
        self, request: BaseRequest, content_type: str, chunks: Callable[[], AsyncGenerator[bytes]]
    ) -> StreamResponse:
        headers = {**ALWAYS, "Content-Type": content_type}
        if request.method == "HEAD":
            return Response(headers=headers)
        if self._streams.refusal is not None:
            return _failure(503, self._streams.refusal)
        return await self._streams.send(request, StreamResponse(headers=headers), chunks())


def _json(value: object, status: int = 200) -> Response:
    return Response(body=status_json.encode(value), status=status, content_type="application/json")


def _unauthorized(why: Refusal) -> Response:
    response = _failure(401, why.message)
    response.headers["WWW-Authenticate"] = why.challenge
    return response


def _failure(status: int, message: str, **details: object) -> Response:
    return _json({"success": False, "error": message, **details}, status)
