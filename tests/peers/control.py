"""A control plane for tests: the real one, in this process on a real socket, or as a process of its own."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from agent.config import Secret
from control.auth.keys import digest
from control.serve import Options, listen, serve
from control.storage.store import Store

ROOT = Path(__file__).parents[2]
APP_ID = "demo"
KEY = Secret("test-key-of-demo")
LINES = {"Accept": "application/x-ndjson, application/json;q=0.9"}
DELTA = LINES | {"A-IM": "files-delta"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `json()` reads its body as one JSON value, `lines()` as a complete stream without its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)

    def lines(self) -> list[Any]:
        *lines, end = map(orjson.loads, self.body.splitlines())
        assert end == {"end": True, "count": len(lines)}
        return lines


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to one app of a control plane. `url` is the control plane's own."""

    session: aiohttp.ClientSession
    url: str
    app_id: str = APP_ID

    @property
    def app(self) -> str:
        return f"{self.url}/api/vendor/apps/{self.app_id}"

    async def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {KEY.reveal()}"} | dict(headers or {})
        async with asyncio.timeout(20), self.session.request(method, path, headers=headers, **options) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.read())

    async def files(self, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        return await self.ask(method, self.app + "/files", headers)

    async def put(self, files: Mapping[str, str], deleted: tuple[str, ...] = ()) -> dict[str, Any]:
        """One call that has to be taken."""
        entries = [{"filepath": path, "content": content} for path, content in files.items()]
        answer = await self.put_raw({"files": entries, "deleted": list(deleted)})
        assert answer.status == 200, answer.body
        result: dict[str, Any] = answer.json()
        return result

    async def put_raw(self, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("PUT", self.app + "/files", headers, data=io.BytesIO(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane(Client):
    """A control plane in this process. `stop` ends it; `served` is done when it has ended."""

    store: Store
    stop: asyncio.Event
    served: asyncio.Task[None]


@asynccontextmanager
async def plane(folder: Path, options: Options | None = None) -> AsyncIterator[Plane]:
    """The real one on a free port, with its database in `folder` and the app `demo`."""
    store = Store(folder / "control.db")
    store.add_app(APP_ID)
    store.add_key(APP_ID, digest(KEY))
    listener = listen("127.0.0.1", 0)
    stop = asyncio.Event()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    # No TaskGroup: the two halves of a fixture run in two tasks, and a group wants to end where it began.
    served = asyncio.create_task(serve(store, listener, stop, options))
    try:
        async with aiohttp.ClientSession() as session:
            yield Plane(session, url, APP_ID, store=store, stop=stop, served=served)
    finally:
        stop.set()
        await asyncio.wait([served], timeout=10)
        store.close()
        served.result()


@dataclass(frozen=True, slots=True)
class Process:
    url: str
    handle: asyncio.subprocess.Process

    async def end(self, number: signal.Signals) -> int:
        self.handle.send_signal(number)
        async with asyncio.timeout(10):
            return await self.handle.wait()


@asynccontextmanager
async def process(folder: Path, *arguments: str) -> AsyncIterator[Process]:
    """`python -m control serve` on a free port, its database in `folder`. Killed at the end where it still runs."""
    handle = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "control", "serve", "--port", "0", "--app", APP_ID),
        *("--db", str(folder / "control.db"), *arguments),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "API_KEY": KEY.reveal()},
        stdout=asyncio.subprocess.PIPE,
    )
    assert handle.stdout is not None
    try:
        async with asyncio.timeout(20):
            async for line in handle.stdout:
                event = orjson.loads(line)
                if event["event"] == "control.serving":
                    break
        yield Process(event["url"], handle)
    finally:
        if handle.returncode is None:
            handle.kill()
        await handle.communicate()
