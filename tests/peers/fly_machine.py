"""A stand-in for one Fly machine, as Fly describes them: its own Unix socket, the issuer of its tokens, the freeze.

The socket speaks HTTP for the host `flaps`: `suspend` answers before the freeze comes, then every process of the given
tree is stopped (SIGSTOP, parents first) and the state is `suspended` until `start`. What differs from a snapshot: both
clocks go on meanwhile, and the kernel keeps its connections; tests bring a Clock, and a line that goes dead. What
makes a machine unfit for a snapshot is known, what Fly then answers is not: 412 here.

Tokens are bare JWTs, signed with a key whose set the issuer publishes over HTTP where its discovery document says.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jwt
import orjson
import psutil
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from agent.config import FlyMachine

APP = "preview-shop"
MACHINE = "e2865641be7328"
FREEZE_SECONDS = 0.3
LIFE_SECONDS = 600

State = Literal["started", "suspending", "suspended"]


class Issuer:
    """https://oidc.fly.io/<org>, here over HTTP. `rotate` is a new signing key; `answering`: what it answers with."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.status = 200
        self._number = 0
        self.rotate()

    def rotate(self) -> None:
        self._number += 1
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, claims: Mapping[str, Any], *, headers: Mapping[str, Any] | None = None) -> str:
        return jwt.encode(
            dict(claims), self._key, algorithm="RS256", headers={"kid": f"key-{self._number}", **(headers or {})}
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.status != 200:
            return web.Response(status=self.status)
        if request.path.endswith("/.well-known/openid-configuration"):
            return web.json_response({"issuer": self.url, "jwks_uri": self.url + "/.well-known/jwks"})
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return web.json_response({"keys": [public | {"kid": f"key-{self._number}", "use": "sig", "alg": "RS256"}]})


@dataclass
class Machine:
    """`refusal`, `body`: what every call, a call for a token is answered with instead. `claims`: over those of a token.
    `life`: of one, in seconds. `root`: the process whose tree it freezes. `granted`: it was told so, `frozen`: it is.
    """

    path: Path
    issuer: Issuer
    state: State = "started"
    memory_mb: int = 1024
    life: float = LIFE_SECONDS
    claims: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, bytes] | None = None
    hangs: bool = False
    body: bytes | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    frozen: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    root: psutil.Process | None = None
    _freezing: asyncio.TimerHandle | None = None

    @property
    def known(self) -> FlyMachine:
        """As the agent's settings have it."""
        return FlyMachine(APP, MACHINE, self.path)

    @property
    def environ(self) -> dict[str, str]:
        """Of an agent that runs on it without a key."""
        return {"API_KEY": "", "FLY_APP_NAME": APP, "FLY_MACHINE_ID": MACHINE, "FLY_API_SOCKET": str(self.path)}

    def token(self, audience: str, **claims: Any) -> str:
        now = time.time()
        said = {
            "iss": self.issuer.url,
            "sub": f"acme:{APP}:quiet-fog-12",
            "aud": audience,
            "app_id": "4711",
            "app_name": APP,
            "machine_id": MACHINE,
            "machine_name": "quiet-fog-12",
            "org_name": "acme",
            "region": "fra",
            "jti": str(uuid.uuid4()),
            "iat": now,
            "nbf": now,
            "exp": now + self.life,
        }
        return self.issuer.sign({name: claim for name, claim in (said | claims).items() if claim is not None})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((f"{request.method} {request.host}{request.path}", body.decode()))
        if self.hangs:
            self.hanging.set()
            await asyncio.Event().wait()
        if self.refusal is not None:
            status, said = self.refusal
            return web.Response(status=status, body=said, headers=_traced())
        if request.host != "flaps":
            return _refused(404, "unknown host")
        match request.method, request.rel_url.raw_path.strip("/").split("/"):
            case "POST", ["v1", "tokens", "oidc"]:
                return self._oidc(body)
            case "POST", ["v1", "apps", app, "machines", machine, "suspend"]:
                return self._suspend(app, machine)
            case _:
                return _refused(404, "not found")

    def start(self) -> None:
        """Resume it, in the middle of whatever it did. Idempotent."""
        if self._freezing is not None:
            self._freezing.cancel()
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self.state = "started"
        self.granted.clear()
        self.frozen.clear()

    def _oidc(self, body: bytes) -> web.Response:
        try:
            audience = orjson.loads(body)["aud"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return _refused(422, "invalid request body")
        token = self.token(audience, **self.claims)
        self.issued.append(token)
        return web.Response(body=token.encode() if self.body is None else self.body, headers=_traced())

    def _suspend(self, app: str, machine: str) -> web.Response:
        if (app, machine) != (APP, MACHINE):
            return _refused(403, "unauthorized: this credential is for another machine")
        if self.memory_mb > 2048:
            return _refused(412, "machine has too much memory to be suspended", status="unknown")
        if self.state != "started":
            return _refused(412, f"machine is not in a state that can be suspended: {self.state}")
        self.state = "suspending"
        self.granted.set()
        self._freezing = asyncio.get_running_loop().call_later(FREEZE_SECONDS, self._freeze)
        return web.json_response({"ok": True}, headers=_traced())

    def _freeze(self) -> None:
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        self._await_frozen()

    def _await_frozen(self) -> None:
        """A signal takes effect when the kernel gets to it."""
        if all(process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE} for process in self._tree()):
            self.state = "suspended"
            self.frozen.set()
        else:
            self._freezing = asyncio.get_running_loop().call_later(0.01, self._await_frozen)

    def _tree(self) -> list[psutil.Process]:
        """Parents first: a stopped one starts no others."""
        if self.root is None or not self.root.is_running():
            return []
        return [self.root, *self.root.children(recursive=True)]


def _traced() -> dict[str, str]:
    return {"fly-request-id": "01JDKV2W5Z-fra"}


def _refused(code: int, error: str, **more: str) -> web.Response:
    return web.json_response({"error": error, **more}, status=code, headers=_traced())


@asynccontextmanager
async def fly_machine(folder: Path) -> AsyncIterator[Machine]:
    """A started machine whose socket is in `folder`. Whatever was frozen goes on at the end."""
    issuer = Issuer()
    machine = Machine(folder / "fly-api", issuer)
    runners = []
    try:
        for answer in (machine.answer, issuer.answer):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", answer)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            runners.append(runner)
        await web.UnixSite(runners[0], machine.path).start()
        await web.TCPSite(runners[1], "127.0.0.1", 0).start()
        issuer.url = f"http://127.0.0.1:{runners[1].addresses[0][1]}/acme"
        yield machine
    finally:
        machine.start()
        for runner in runners:
            await runner.cleanup()
