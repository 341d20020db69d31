"""A blocking HTTP client with a persistent connection, which sends a change as fast as possible."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import orjson

from tests.peers.stack import APP, KEY

PATH = f"/api/vendor/apps/{APP}/files"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
SECONDS = 20.0


class Client:
    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def put(self, path: str, text: str) -> None:
        """Store a file, and return when the backend has committed it."""
        body = orjson.dumps({"files": [{"filepath": path, "content": text}]})
        self._connection.request("PUT", PATH, body, HEADERS)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the backend did not accept a change ({answer.status}): {body[:200]!r}")


@contextmanager
def client(url: str) -> Iterator[Client]:
    address = urlsplit(url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)) as connection:
        connection.connect()
        yield Client(connection)
