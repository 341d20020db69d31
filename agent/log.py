"""Logs are events with fields: `log.info("sync.applied", revision=214, files=3, ms=12)`.

Writes one JSON object per line, or aligned text on a terminal; nothing else writes to standard output. Secret objects
show nothing. `configure` also replaces the literal text of the secrets it is given in every event, because the error
message of a library or of the backend may quote a header.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import orjson
import structlog

from agent.config import Secret

HIDDEN = "[secret]"
SHORTEST_HIDDEN = 6


def configure(*, terminal: bool, secrets: Iterable[Secret] = ()) -> None:
    """Set up structlog and the standard library's logging, which aiohttp uses, to write to the same stream."""
    # A key of a few letters occurs in many words: replacing it would make the log unreadable and reveal the key.
    texts = tuple(secret.reveal() for secret in secrets if len(secret.reveal()) >= SHORTEST_HIDDEN)

    def blank_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key: _blank(value, texts) for key, value in event.items()}

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if terminal else "iso", utc=not terminal),
        structlog.processors.format_exc_info,
        blank_secrets,
    ]
    last = (
        structlog.dev.ConsoleRenderer(colors=True, pad_event_to=24)
        if terminal
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_strip, last])
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _strip(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logging.root, "", event)


def _blank(value: object, texts: tuple[str, ...]) -> object:
    match value:
        case str():
            for text in texts:
                value = value.replace(text, HIDDEN)
            return value
        case list() | tuple():
            return [_blank(item, texts) for item in value]
        case dict():
            return {key: _blank(item, texts) for key, item in value.items()}
        case _:
            return value


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
