"""The public port (PORT): accepts connections, serves each one in a task, and closes all of them on sleep and on stop.

Invariants: an exception in one connection reaches neither another one nor the rest of the agent. After `stop` has
returned, no task, socket or timer that `start` began is left.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress

import structlog

from agent.clock import Clock
from agent.errors import ConfigError, Occupied
from agent.gateway.connection import Connection
from agent.gateway.http import responses
from agent.gateway.http.transport import Transport
from agent.gateway.http.upstream import Upstream
from agent.gateway.pages.event_streams import OutputLog
from agent.gateway.shared import OnActivity, SharedState
from agent.gateway.websocket.page_messages import SLEEP
from agent.status import Traffic
from agent.status_board import StatusBoard

log = structlog.get_logger()

CONNECTIONS_MOST = 512
"""With as many connections to the dev server, they stay below the usual limit of 1,024 open files per process."""
BACKLOG = 512
FLUSH_SECONDS = 0.3
"""How long bytes that were written last may take to be sent before the connections are cut."""
ALL_INTERFACES = "0.0.0.0"  # noqa: S104  this port exists to be reachable from outside


class Gateway:
    """`start` and `stop` are called by the same task, which owns all tasks in between."""

    def __init__(
        self,
        *,
        board: StatusBoard,
        logs: OutputLog,
        dev_port: int,
        clock: Clock,
        on_activity: OnActivity,
    ) -> None:
        """`on_activity` gets a kind, its source, and whether there is evidence of a person.

        `navigation` and `app_request` are reported once per request of that class (policy/activity.py), with
        "GET /about"; `shown` when a page reports that it is on screen, with its path; `input` when a page reports that
        it was used, with "pointer", "key", "wheel" or "touch". Hot reload's sockets, assets and probes do not count.
        """
        self._board = board
        self._logs = logs
        self._dev_port = dev_port
        self._clock = clock
        self._on_activity = on_activity
        self._listeners: list[asyncio.Server] = []
        self._group: asyncio.TaskGroup | None = None
        self._shared: SharedState | None = None
        self._serving: dict[Transport, asyncio.Task[None]] = {}
        self._open: set[Transport] = set()
        self._none_open = asyncio.Event()
        self._full_logged = False
        self._began = clock.monotonic()

    @property
    def port(self) -> int:
        """The port that is listened on: the one `start` was given, or the one the system chose for 0."""
        if not self._listeners:
            raise RuntimeError("Gateway.port is known between start() and stop()")
        number: int = self._listeners[0].sockets[0].getsockname()[1]
        return number

    @property
    def pages(self) -> tuple[int, int]:
        """The number of open pages of the app: (on screen, hidden)."""
        if self._shared is None:
            return (0, 0)
        visible = self._shared.pages.visible
        return (visible, len(self._shared.pages) - visible)

    @property
    def last_exchange(self) -> float:
        """When bytes last went to the dev server or came from it, by the monotonic clock."""
        return self._began if self._shared is None else self._shared.upstream.last_exchange

    @property
    def answering(self) -> int:
        """How many requests that may keep the machine awake have not got their whole response yet."""
        return 0 if self._shared is None else self._shared.answering

    def traffic(self) -> Traffic:
        """The app's requests that wait for the dev server's response now."""
        return Traffic() if self._shared is None else self._shared.waiting.traffic()

    def drop_idle_connections(self) -> None:
        """Close idle connections to the dev server: after a suspend they may be dead without looking so."""
        if self._shared is not None:
            self._shared.upstream.drop_idle()

    async def put_pages_to_sleep(self, within: float) -> int:
        """Have every open page replace itself by the asleep page, and end all long-lived connections; the number of
        pages.

        The board has to say `sleeping` before, because the pages then request the asleep page. They get `within`
        seconds for it. After that, sockets that are left are closed with 1001 and `asleep`, and waking and failed pages
        are sent `gone`. Connections that were opened meanwhile are spared: somebody may have come back. The gateway
        goes on serving, so this can be called again, or be cancelled when the machine stays awake.
        """
        shared = self._shared
        if shared is None:
            return 0
        shared.closing_pages, tasks = True, shared.long_lived_tasks
        try:
            pages = await shared.pages.send_and_wait_closed(SLEEP, within)
            await shared.cancel_long_lived(tasks, 2 * FLUSH_SECONDS)
        finally:
            shared.closing_pages = False
        log.info("gateway.pages_asleep", pages=pages)
        return pages

    async def start(self, port: int, host: str = ALL_INTERFACES) -> None:
        """Listen. On failure raises ConfigError (Occupied if another process has the port), with nothing left open.

        On all interfaces, IPv6 is listened on too if the machine has it.
        """
        self._shared = SharedState(
            board=self._board,
            logs=self._logs,
            clock=self._clock,
            upstream=Upstream(self._dev_port, self._clock.monotonic),
            dev_port=self._dev_port,
            on_activity=self._on_activity,
            began=self._began,
        )
        self._group = await asyncio.TaskGroup().__aenter__()
        try:
            self._listeners.append(await self._listen(host, port))
        except OSError as error:
            await self.stop()
            raise _listen_error(port, error) from error
        if host == ALL_INTERFACES:
            with suppress(OSError):
                self._listeners.append(await self._listen("::", self.port))
        log.info("gateway.listening", port=self.port, dev_port=self._dev_port)

    async def stop(self) -> None:
        """Close everything within half a second: streams end, and WebSockets are closed with 1001, with the reason
        `asleep` if the board says that the machine goes to sleep. May be called again.
        """
        group, self._group = self._group, None
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for task in self._serving.values():
            task.cancel()
        if group is not None:
            await group.__aexit__(None, None, None)
        if self._shared is not None:
            self._shared.upstream.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                while self._open:
                    self._none_open.clear()
                    await self._none_open.wait()
        for transport in tuple(self._open):
            transport.abort()
        await asyncio.sleep(0)  # the event loop closes an aborted socket in its next iteration

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: Transport(self._connected, self._disconnected), host, port, backlog=BACKLOG
        )

    def _connected(self, client: Transport) -> None:
        self._open.add(client)
        if self._group is None or self._shared is None:
            client.abort()
        elif len(self._serving) >= CONNECTIONS_MOST:
            self._log_full()
            client.write(responses.text(503, "too many connections", wall=self._clock.wall(), close=True))
            client.close()
        else:
            self._full_logged = self._full_logged and len(self._serving) > CONNECTIONS_MOST // 2
            self._serving[client] = self._group.create_task(self._serve(client, self._shared))

    def _log_full(self) -> None:
        if not self._full_logged:  # once, and not for each refused connection
            log.warning("gateway.full", connections=len(self._serving))
            self._full_logged = True

    def _disconnected(self, client: Transport) -> None:
        self._open.discard(client)
        if not self._open:
            self._none_open.set()

    async def _serve(self, client: Transport, shared: SharedState) -> None:
        try:
            await Connection(client, shared).serve()
        except Exception:  # a defect in one connection must not end the task group, and with it the agent
            log.exception("gateway.connection_crashed", peer=client.peer)
            client.abort()
        finally:
            self._serving.pop(client, None)


def _listen_error(port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return Occupied(f"PORT {port} is taken: stop the process that listens on it, or set another PORT")
    if error.errno == errno.EACCES:
        return ConfigError(f"PORT {port} needs privileges that the agent lacks: set PORT to a port from 1024 up")
    return ConfigError(f"PORT {port} cannot be listened on: {error.strerror or error}")
