"""HTTP client of the files API: one request for files at a time, and blobs beside it.

Converts network and aiohttp failures to BackendErrors, and limits every wait and every body. What must not live here:
what to request (loop.py), and what an answer means (exchange.py, entries.py).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp

from agent.backend.responses import status_error
from agent.backend.session import Session
from agent.clock import Clock
from agent.errors import BackendError, BadAnswer, Unreachable
from agent.paths import MAX_ANSWER_BYTES
from agent.sync.protocol.exchange import AnswerHead, FilesRequest, read_head

SILENCE_SECONDS = 30.0
"""Read timeout: an exchange fails after this long without a byte. For a held request its wait is added."""

ANSWER_SECONDS = 900.0
"""The most that a whole answer may take, even if bytes keep arriving."""

_BUFFER = 256 * 1024


class FilesAnswer:
    """An answer whose headers have arrived. Its body is read once, by `body` or by `lines`."""

    def __init__(self, head: AnswerHead, response: aiohttp.ClientResponse) -> None:
        self.head = head
        self.bytes = 0
        self._response = response

    async def body(self) -> bytes:
        """The whole body. Raises BadAnswer when it exceeds the contract's limit."""
        pieces = []
        async for piece in self._pieces():
            pieces.append(piece)
            if self.bytes > MAX_ANSWER_BYTES:
                raise BadAnswer(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes; send larger sets as NDJSON")
        return b"".join(pieces)

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """The lines of an NDJSON body in batches as they arrive, without line ends and blank lines."""
        rest: list[bytes] = []
        rest_size = 0
        async for piece in self._pieces():
            *lines, last = piece.split(b"\n")
            if lines:
                lines[0] = b"".join((*rest, lines[0]))
                rest, rest_size = [], 0
                yield [line for line in lines if line.strip()]
            rest.append(last)
            rest_size += len(last)
            if rest_size > MAX_ANSWER_BYTES:
                raise BadAnswer(f"a line of the answer has more than {MAX_ANSWER_BYTES:,} bytes")
        if rest_size:
            yield [b"".join(rest)]

    async def _pieces(self) -> AsyncIterator[bytes]:
        with _network_errors():
            async for piece in self._response.content.iter_any():
                self.bytes += len(piece)
                yield piece


class Backend:
    def __init__(self, session: Session, *, address: Callable[[str], str], clock: Clock) -> None:
        """`address` returns the URL of one of the app's resources: `files`, `files/blobs/<sha256>`."""
        self._session = session
        self._address = address
        self._clock = clock

    @asynccontextmanager
    async def get_files(self, request: FilesRequest) -> AsyncIterator[FilesAnswer]:
        """Request the files. Raises a BackendError for any status but 200, 226 and 304."""
        silence = request.wait + SILENCE_SECONDS
        async with self._get("files", request.headers(), silence) as response:
            head = read_head(response.status, response.headers, request, wall=self._clock.wall())
            yield FilesAnswer(head, response)

    async def get_blob(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes of one blob, in pieces."""
        async with self._get(f"files/blobs/{sha256}", {}, SILENCE_SECONDS) as response:
            if response.status not in {200, 404}:
                raise status_error(response.status, response.headers, wall=self._clock.wall())
            if response.status == 404:
                raise BackendError(f"the backend answered 404 for the blob {sha256}, which its set names")
            with _network_errors():
                async for piece in response.content.iter_any():
                    yield piece

    @asynccontextmanager
    async def _get(self, tail: str, headers: dict[str, str], silence: float) -> AsyncIterator[aiohttp.ClientResponse]:
        total = silence + ANSWER_SECONDS
        with _network_errors():
            response = await self._session.get(
                self._address(tail), headers=headers, silence=silence, total=total, read_bufsize=_BUFFER
            )
        try:
            yield response
        finally:
            response.release()  # closes the connection if the body was not read completely


@contextmanager
def _network_errors() -> Iterator[None]:
    """Convert network failures to Unreachable."""
    try:
        yield
    except TimeoutError as error:
        raise Unreachable("the backend did not answer in time") from error
    except aiohttp.ClientPayloadError as error:
        raise Unreachable("the answer was cut off") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"the backend cannot be reached: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The operating system's message if there is one: Connection refused, Name or service not known."""
    system = getattr(error, "os_error", error)
    number = getattr(system, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return str(getattr(system, "strerror", None) or system) or type(error).__name__
