"""Runs the control plane: starts and stops the store, the feed, HTTP and the watched folder, in order.

Invariants: `control.serving` is logged once connections are accepted and a watched folder has been read completely. On
a stop, every held request is answered at once, streams are cut off (a stream without its last line counts as
incomplete), and no acknowledged change is lost. A second signal ends the process immediately.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
from aiohttp import web

from agent.clock import Clock
from control.activity import Activity
from control.auth.keys import MachineCheck, Trust
from control.files.blobs import Blobs
from control.files.feed import Feed
from control.files.routes import Files
from control.storage.store import Store
from control.watch.watch import Watch
from control.web import application

log = structlog.get_logger()

SHUTDOWN_SECONDS = 0.5
"""How long responses that are being sent may take when the server stops."""

BACKLOG = 1024

KEEPALIVE_SECONDS = 90.0
"""Longer than any request is held, so that the client is the side that closes an idle connection."""


@dataclass(frozen=True, slots=True)
class Options:
    watch: tuple[str, Path] | None = None
    """App id, and the folder that holds its files."""
    gzip_near: bool = False
    """Compress for clients on this machine too."""
    trust: Trust | None = None
    """Which machines' tokens are accepted besides keys."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise OSError. The kernel queues connections until `serve` accepts them."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)


async def serve(store: Store, listener: socket.socket, stop: asyncio.Event, options: Options | None = None) -> None:
    """Serve until `stop` is set, and close the listener. The caller closes the store."""
    options = options or Options()
    loop = asyncio.get_running_loop()
    feed = Feed()

    def committed(app_id: str, revision: int) -> None:
        loop.call_soon_threadsafe(feed.publish, app_id, revision)

    store.committed = committed
    files = Files(store, feed, watched=options.watch[0] if options.watch else None, gzip_near=options.gzip_near)
    routes = [*files.routes(), *Blobs(store).routes(), *Activity(store).routes()]
    session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
    app = application(store, routes, _machines(options.trust, session) if options.trust else None)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,  # ends held requests whose client has disconnected
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(session)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        if options.watch is not None:
            watch = Watch(store, *options.watch)
            watching = group.create_task(watch.run(), name="watch")
            stack.callback(watching.cancel)
            await watch.ready()
        stack.push_async_callback(runner.cleanup)
        stack.callback(feed.close)
        await runner.setup()
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        log.info("control.serving", url=_url(*listener.getsockname()[:2]))
        await stop.wait()
        log.info("control.stopping", held=len(feed))


def _machines(trust: Trust, session: aiohttp.ClientSession) -> MachineCheck:
    from control.auth.issuer_keys import Issuer  # noqa: PLC0415 - cryptography costs 9 MiB and 80 ms
    from control.auth.machine_tokens import MachineTokens  # noqa: PLC0415 - as above

    return MachineTokens(trust, Issuer(trust.issuer, session, Clock())).authorize


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets. A second signal exits at once, which cannot damage the store."""
    stop = asyncio.Event()

    def arrived(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, arrived, number)
    return stop
