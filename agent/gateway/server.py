"""The public port (contract, PORT): listens, has every connection served, and takes leave of all of them.

Invariants: no connection's fault reaches another, or the rest of the agent. After `stop` returned there is no task,
no socket and no timer left of what `start` began.
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
from agent.gateway.http.transport import Wire
from agent.gateway.http.upstream import Upstream
from agent.gateway.pages.event_streams import Logs
from agent.gateway.shared import Front, OnActivity
from agent.gateway.websocket.page_messages import SLEEP
from agent.status import Traffic
from agent.status_board import StatusBoard

log = structlog.get_logger()

CONNECTIONS_MOST = 512
"""With as many towards the dev server they stay below the 1,024 files that a process may usually open."""
BACKLOG = 512
FAREWELL_SECONDS = 0.3
"""How long what was written last may take to leave before the connections are cut."""
EVERYWHERE = "0.0.0.0"  # noqa: S104  being reachable from outside is what this port is for


class Gateway:
    """`start` and `stop` are called by one and the same task, which owns everything that runs in between."""

    def __init__(
        self,
        *,
        board: StatusBoard,
        logs: Logs,
        dev_port: int,
        clock: Clock,
        on_activity: OnActivity,
    ) -> None:
        """`on_activity` gets a kind, its source, and whether there is evidence of a person.

        `navigation` and `app_request` come once for each such request (classes.AWAKE), with "GET /about"; `shown`
        when a page says that it is on screen, with its path; `input` when a page says that it was used, with
        "pointer", "key", "wheel" or "touch". Sockets of HMR, assets and probes are no activity.
        """
        self._board = board
        self._logs = logs
        self._dev_port = dev_port
        self._clock = clock
        self._on_activity = on_activity
        self._listeners: list[asyncio.Server] = []
        self._group: asyncio.TaskGroup | None = None
        self._front: Front | None = None
        self._serving: dict[Wire, asyncio.Task[None]] = {}
        self._open: set[Wire] = set()
        self._none_open = asyncio.Event()
        self._full_said = False
        self._began = clock.monotonic()

    @property
    def port(self) -> int:
        """The port that is listened on: what `start` was given, or what the system chose for 0."""
        if not self._listeners:
            raise RuntimeError("Gateway.port is known between start() and stop()")
        number: int = self._listeners[0].sockets[0].getsockname()[1]
        return number

    @property
    def pages(self) -> tuple[int, int]:
        """How many pages of the app are open: (on screen, hidden)."""
        if self._front is None:
            return (0, 0)
        visible = self._front.pages.visible
        return (visible, len(self._front.pages) - visible)

    @property
    def last_exchange(self) -> float:
        """When something was last sent to the dev server or came from it, by the monotonic clock."""
        return self._began if self._front is None else self._front.upstream.last_exchange

    @property
    def answering(self) -> int:
        """How many requests that may keep the machine awake have not got their whole answer yet."""
        return 0 if self._front is None else self._front.answering

    def traffic(self) -> Traffic:
        """The app's requests that wait for the dev server's answer at this moment."""
        return Traffic() if self._front is None else self._front.waiting.traffic()

    def drop_idle_connections(self) -> None:
        """Forget idle connections to the dev server: after a suspend they may only look alive."""
        if self._front is not None:
            self._front.upstream.redial()

    async def put_pages_to_sleep(self, within: float) -> int:
        """Have every open page turn into the asleep page, and end all that lasts; how many pages were told.

        The board has to say `sleeping` before, because the pages ask for the asleep page. They get `within` seconds
        to go; then the sockets that are left are closed with 1001 and `asleep`, and waking and failed pages are told
        `gone`, but none that were opened meanwhile: somebody may have come. The gateway goes on serving, so this can be
        said again, or the sleep be called off, also by cancelling this.
        """
        front = self._front
        if front is None:
            return 0
        front.leaving, those = True, front.all_lasting
        try:
            told = await front.pages.leave(SLEEP, within)
            await front.dismiss(those, 2 * FAREWELL_SECONDS)
        finally:
            front.leaving = False
        log.info("gateway.farewell", pages=told)
        return told

    async def start(self, port: int, host: str = EVERYWHERE) -> None:
        """Listen, or raise ConfigError (Occupied where another process has the port) with nothing left open.

        Where `host` is everywhere, IPv6 is listened on as well if the machine has it.
        """
        self._front = Front(
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
            raise _unusable(port, error) from error
        if host == EVERYWHERE:
            with suppress(OSError):
                self._listeners.append(await self._listen("::", self.port))
        log.info("gateway.listening", port=self.port, dev_port=self._dev_port)

    async def stop(self) -> None:
        """Close everything within half a second: streams end, WebSockets are told 1001, with `asleep` where the board
        says so. Twice is as good as once.
        """
        group, self._group = self._group, None
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for task in self._serving.values():
            task.cancel()
        if group is not None:
            await group.__aexit__(None, None, None)
        if self._front is not None:
            self._front.upstream.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                while self._open:
                    self._none_open.clear()
                    await self._none_open.wait()
        for wire in tuple(self._open):
            wire.abort()
        await asyncio.sleep(0)  # the loop closes an aborted socket in its next round

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Wire(self._connected, self._lost), host, port, backlog=BACKLOG)

    def _connected(self, client: Wire) -> None:
        self._open.add(client)
        if self._group is None or self._front is None:
            client.abort()
        elif len(self._serving) >= CONNECTIONS_MOST:
            self._note_full()
            client.write(responses.text(503, "too many connections", wall=self._clock.wall(), close=True))
            client.close()
        else:
            self._full_said = self._full_said and len(self._serving) > CONNECTIONS_MOST // 2
            self._serving[client] = self._group.create_task(self._serve(client, self._front))

    def _note_full(self) -> None:
        if not self._full_said:  # once, and not for each that is turned away
            log.warning("gateway.full", connections=len(self._serving))
            self._full_said = True

    def _lost(self, client: Wire) -> None:
        self._open.discard(client)
        if not self._open:
            self._none_open.set()

    async def _serve(self, client: Wire, front: Front) -> None:
        try:
            await Connection(client, front).serve()
        except Exception:  # one connection's defect must not end the group, and with it the agent
            log.exception("gateway.defect", peer=client.peer)
            client.abort()
        finally:
            self._serving.pop(client, None)


def _unusable(port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return Occupied(f"PORT {port} is taken: stop what holds it, or set another PORT")
    if error.errno == errno.EACCES:
        return ConfigError(f"PORT {port} is not ours to listen on: set PORT to a port from 1024 up")
    return ConfigError(f"PORT {port} cannot be listened on: {error.strerror or error}")
