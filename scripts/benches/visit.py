"""Times the first visit to a preview that is being started, as a browser does it.

Requests `/` as soon as the port accepts a connection. If the waking page answers, it follows the page's events and
requests `/` again when they say that the app is ready. Blocking; runs on a thread of its own.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass

ACCEPT = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
EVENTS = "/__preview/events?path=%2F"
AGAIN_SECONDS = 0.002
PATIENCE = 120.0


class Never(Exception):
    """The page did not appear in time."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Seconds from `began`. `waking` is None if the first answer was the app's own page."""

    waking: float | None
    page: float


def first_page(port: int, began: float, mark: str, stop: threading.Event) -> Visit:
    """Visit until a 200 contains `mark`. Raise Never if that does not happen, or when `stop` is set."""
    waking = None
    while time.perf_counter() - began < PATIENCE and not stop.is_set():
        with suppress(ConnectionError), closing(_connection(port)) as connection:
            connection.request("GET", "/", headers=ACCEPT)
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
            now = time.perf_counter() - began
            if answer.status == 200 and mark in body:
                return Visit(waking, now)
            if answer.status == 503 and answer.getheader("Content-Type", "").startswith("text/html"):
                waking = now if waking is None else waking
                _until_ready(port)
                continue
        time.sleep(AGAIN_SECONDS)
    raise Never(f"no page with {mark!r} within {PATIENCE:g} s")


def _connection(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.connect()
    return connection


def _until_ready(port: int) -> None:
    """Read the waking page's events until one is "ready" or they end."""
    with closing(_connection(port)) as connection:
        connection.request("GET", EVENTS, headers={"Accept": "text/event-stream"})
        for line in connection.getresponse():
            if line.startswith(b"data:") and json.loads(line[5:]).get("kind") == "ready":
                return
