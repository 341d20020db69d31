"""The files API over HTTP: one request for files at a time, and blobs beside it.

Turns every failure of the network and of aiohttp into this program's errors, bounds every wait and every body, and
decides nothing: what to ask is the loop's, what an answer means is exchange.py's and wire.py's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp

from agent.backend.session import Session
from agent.clock import Clock
from agent.errors import BackendError, BadAnswer, Unreachable
from agent.paths import MAX_ANSWER_BYTES
from agent.sync.protocol.exchange import Ask, Head, failure, read_head

SILENCE_SECONDS = 30.0
"""How long nothing may come before an exchange counts as broken; a held request gets its wait on top."""

ANSWER_SECONDS = 900.0
"""How long a whole answer may take, however steadily it trickles."""

_BUFFER = 256 * 1024


class Answer:
    """An answer whose head has come. Its body is read once, by `body` or by `lines`."""

    def __init__(self, head: Head, response: aiohttp.ClientResponse) -> None:
        self.head = head
        self.bytes = 0
        self._response = response

    async def body(self) -> bytes:
        """All of a JSON answer; BadAnswer when it is over the contract's limit."""
        pieces = []
        async for piece in self._pieces():
            pieces.append(piece)
            if self.bytes > MAX_ANSWER_BYTES:
                raise BadAnswer(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes; a backend sends more as NDJSON")
        return b"".join(pieces)

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """The lines of a stream as they come, some at a time, without their line ends and without blank ones."""
        rest: list[bytes] = []
        held = 0
        async for piece in self._pieces():
            *lines, last = piece.split(b"\n")
            if lines:
                lines[0] = b"".join((*rest, lines[0]))
                rest, held = [], 0
                yield [line for line in lines if line.strip()]
            rest.append(last)
            held += len(last)
            if held > MAX_ANSWER_BYTES:
                raise BadAnswer(f"a line of the answer has more than {MAX_ANSWER_BYTES:,} bytes")
        if held:
            yield [b"".join(rest)]

    async def _pieces(self) -> AsyncIterator[bytes]:
        with _network():
            async for piece in self._response.content.iter_any():
                self.bytes += len(piece)
                yield piece


class Backend:
    def __init__(self, session: Session, *, address: Callable[[str], str], clock: Clock) -> None:
        """`address` makes the URL of one of the app's resources: `files`, `files/blobs/<sha256>`."""
        self._session = session
        self._address = address
        self._clock = clock

    @asynccontextmanager
    async def ask(self, ask: Ask) -> AsyncIterator[Answer]:
        """Ask for the files. Raises a BackendError for every answer that is none of 200, 226 and 304."""
        silence = ask.wait + SILENCE_SECONDS
        async with self._get("files", ask.headers(), silence) as response:
            head = read_head(response.status, response.headers, ask, wall=self._clock.wall())
            yield Answer(head, response)

    async def blob(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes of one blob, in pieces."""
        async with self._get(f"files/blobs/{sha256}", {}, SILENCE_SECONDS) as response:
            if response.status not in {200, 404}:
                raise failure(response.status, response.headers, self._clock.wall())
            if response.status == 404:
                raise BackendError(f"the backend answered {response.status} for the blob {sha256}, which its set names")
            with _network():
                async for piece in response.content.iter_any():
                    yield piece

    @asynccontextmanager
    async def _get(self, tail: str, headers: dict[str, str], silence: float) -> AsyncIterator[aiohttp.ClientResponse]:
        total = silence + ANSWER_SECONDS
        with _network():
            response = await self._session.get(
                self._address(tail), headers=headers, silence=silence, total=total, read_bufsize=_BUFFER
            )
        try:
            yield response
        finally:
            response.release()  # an answer that was not read to its end closes its connection


@contextmanager
def _network() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unreachable("the backend did not answer in time") from error
    except aiohttp.ClientPayloadError as error:
        raise Unreachable("the answer was cut off") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"the backend cannot be reached: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The system's own word where there is one: Connection refused, Name or service not known."""
    system = getattr(error, "os_error", error)
    number = getattr(system, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return str(getattr(system, "strerror", None) or system) or type(error).__name__
