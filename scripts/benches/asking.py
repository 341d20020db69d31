"""An HTTP client on a plain socket, so that the client's own time is small and the same in all measurements."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

SECONDS = 20.0
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
FIELDS = "".join(f"X-Field-{number}: value-{number}-abcdefghijklmnop\r\n" for number in range(12))
"""About as many fields as a browser sends."""


class HttpConnection:
    def __init__(self, connection: socket.socket, port: int) -> None:
        self._connection = connection
        self._port = port
        self._buffer = bytearray(1 << 20)

    def get(self, path: str) -> int:
        """Request `path`, read the whole answer, and return the length of its body."""
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{FIELDS}\r\n"
        self._connection.sendall(request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._received(65_536)
        head, _, body = head.partition(b"\r\n\r\n")
        found = LENGTH.search(head + b"\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or found is None:
            raise RuntimeError(f"port {self._port} answered {head[:200]!r}")
        length = int(found[1])
        left = length - len(body)
        while left > 0:
            read = self._connection.recv_into(self._buffer, min(left, len(self._buffer)))
            if not read:
                raise ConnectionError(f"port {self._port} closed within an answer")
            left -= read
        return length

    def _received(self, most: int) -> bytes:
        data = self._connection.recv(most)
        if not data:
            raise ConnectionError(f"port {self._port} closed before an answer")
        return data

    def latencies(self, path: str, count: int) -> list[float]:
        """Return the milliseconds of each of `count` consecutive requests."""
        times = []
        for _ in range(count):
            began = time.perf_counter()
            self.get(path)
            times.append((time.perf_counter() - began) * 1000)
        return times

    def throughput(self, path: str, count: int) -> float:
        """Return the MB/s of `count` consecutive requests."""
        began = time.perf_counter()
        size = sum(self.get(path) for _ in range(count))
        return size / 1e6 / (time.perf_counter() - began)


@contextmanager
def connect(port: int) -> Iterator[HttpConnection]:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield HttpConnection(connection, port)
