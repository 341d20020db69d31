"""One change at the backend, as fast as a client can send it: a blocking connection that stays open."""

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
        """Returns when the backend has said that it is committed."""
        body = orjson.dumps({"files": [{"filepath": path, "content": text}]})
        self._connection.request("PUT", PATH, body, HEADERS)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the backend did not take a change ({answer.status}): {said[:200]!r}")


@contextmanager
def client(url: str) -> Iterator[Client]:
    address = urlsplit(url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)) as connection:
        connection.connect()
        yield Client(connection)
