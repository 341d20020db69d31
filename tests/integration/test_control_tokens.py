"""Machines without a key: which of their tokens open an app of the control plane, and what the others are told.

The issuer and the machine are stand-ins that speak as Fly's do; keys, signatures and HTTP are real.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from agent.clock import Clock
from agent.config import Secret
from control.auth import issuer_keys as issuer_module
from control.auth.issuer_keys import AGAIN_SECONDS, KEEP_SECONDS, Issuer
from control.auth.keys import Trust
from control.auth.machine_tokens import MachineTokens
from control.errors import ServiceUnavailable, Unauthorized
from control.serve import Options
from tests.peers.control import APP_ID, KEY, Answer, Plane, plane
from tests.peers.fly_machine import APP, MACHINE, Machine, fly_machine

AUDIENCE = "https://backend.example"


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with fly_machine(tmp_path) as running:
        yield running


@pytest.fixture
async def demo(tmp_path: Path, machine: Machine) -> AsyncIterator[Plane]:
    trust = Trust(
        machine.issuer.url, AUDIENCE, {APP_ID: frozenset({(APP, MACHINE)}), "other": frozenset({("preview-x", "a1")})}
    )
    async with plane(tmp_path, Options(trust=trust)) as running:
        running.store.add_app("other")
        yield running


async def opened(demo: Plane, token: str, app: str = APP_ID) -> Answer:
    answer = await demo.ask("GET", f"{demo.url}/api/vendor/apps/{app}/files", {"Authorization": f"Bearer {token}"})
    assert token not in answer.body.decode() + str(answer.headers)
    return answer


async def test_the_token_of_its_machine_opens_an_app_and_keys_go_on_doing_so(demo: Plane, machine: Machine) -> None:
    assert (await opened(demo, machine.token(AUDIENCE))).status == 200
    assert (await opened(demo, KEY.reveal())).status == 200


@pytest.mark.parametrize(
    ("claims", "status", "says"),
    [
        ({"aud": "https://elsewhere.example"}, 401, "claim aud is not this backend"),
        ({"aud": AUDIENCE + "/"}, 401, "claim aud is not this backend"),
        ({"iss": "https://oidc.fly.io/stranger"}, 401, "claim iss is not the issuer"),
        ({"exp": time.time() - 60}, 401, "claim exp is in the past"),
        ({"nbf": time.time() + 86_400}, 401, "claim nbf or iat is in the future"),
        ({"app_name": "preview-stranger"}, 403, "claim app_name is not the Fly app of 'demo'"),
        ({"machine_id": "stranger"}, 403, "claim machine_id is not a machine of 'demo'"),
        ({"machine_id": ["e2865641be7328"]}, 403, "claim machine_id is not"),
        ({"app_name": "preview-x"}, 403, "claim app_name is not"),
        *(({name: None}, 401, f"claim {name} is missing") for name in ("aud", "exp", "iat", "app_name", "machine_id")),
    ],
)
async def test_a_claim_that_is_wrong_is_named(
    demo: Plane, machine: Machine, claims: dict[str, Any], status: int, says: str
) -> None:
    answer = await opened(demo, machine.token(AUDIENCE, **claims))
    assert answer.status == status
    assert says in answer.json()["error"]
    (claim,) = claims
    assert f'error_description="claim {claim}"' in answer.headers["WWW-Authenticate"]


async def test_a_clock_that_is_some_seconds_off_is_forgiven(demo: Plane, machine: Machine) -> None:
    assert (await opened(demo, machine.token(AUDIENCE, exp=time.time() - 5))).status == 200
    assert (await opened(demo, machine.token(AUDIENCE, iat=time.time() + 5, nbf=time.time() + 5))).status == 200


async def test_another_app_is_not_opened_and_one_without_machines_by_nobody(demo: Plane, machine: Machine) -> None:
    token = machine.token(AUDIENCE)
    assert (await opened(demo, token, "other")).status == 403
    assert (await opened(demo, token, "nobody")).status == 403


def unsigned(token: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none","kid":"key-1"}').rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


def signed_with_the_public_key(token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, "the published key of the issuer, as bytes", "HS256", headers={"kid": "key-1"})


def altered(token: str) -> str:
    head, claims, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"machine_id": MACHINE, "admin": True}
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode(), signature])


@pytest.mark.parametrize("forge", [unsigned, signed_with_the_public_key, altered, lambda _: "a.b.c", lambda _: ".."])
async def test_a_forged_token_opens_nothing(demo: Plane, machine: Machine, forge: Any) -> None:
    assert (await opened(demo, forge(machine.token(AUDIENCE)))).status == 401


async def test_without_trust_in_an_issuer_a_token_is_a_key_that_opens_nothing(tmp_path: Path, machine: Machine) -> None:
    async with plane(tmp_path) as demo:
        answer = await opened(demo, machine.token(AUDIENCE))
    assert (answer.status, answer.json()["error"]) == (401, "this key is not known")
    assert machine.issuer.asked == []


async def test_while_the_issuer_is_away_it_is_503_with_the_reason_and_keys_still_open(
    demo: Plane, machine: Machine
) -> None:
    machine.issuer.status = 500
    answer = await opened(demo, machine.token(AUDIENCE))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "could not be fetched" in answer.json()["error"]
    assert (await opened(demo, KEY.reveal())).status == 200


class TestTheIssuersKeys:
    @asynccontextmanager
    async def keys(self, machine: Machine) -> AsyncIterator[Issuer]:
        self.now = 1_000.0
        async with aiohttp.ClientSession() as session:
            yield Issuer(machine.issuer.url, session, Clock(monotonic=lambda: self.now))

    async def test_are_fetched_once_however_many_tokens_come(self, machine: Machine) -> None:
        async with self.keys(machine) as issuer:
            for _ in range(20):
                assert await issuer.key("key-1") is not None
            self.now += KEEP_SECONDS
            assert await issuer.key("key-1") is not None
        assert len(machine.issuer.asked) == 4  # the discovery document and the keys, twice

    async def test_are_fetched_again_for_a_name_that_is_new_but_seldom(self, machine: Machine) -> None:
        async with self.keys(machine) as issuer:
            assert await issuer.key("key-1") is not None
            machine.issuer.rotate()
            assert await issuer.key("key-2") is None
            self.now += AGAIN_SECONDS
            assert await issuer.key("key-2") is not None
            for number in range(100):
                assert await issuer.key(f"made-up-{number}") is None
            assert await issuer.key("key-1") is None
        assert len(machine.issuer.asked) == 4

    async def test_are_used_on_while_the_issuer_is_away(self, machine: Machine) -> None:
        async with self.keys(machine) as issuer:
            assert await issuer.key("key-1") is not None
            machine.issuer.status = 500
            self.now += KEEP_SECONDS
            assert await issuer.key("key-1") is not None
            with pytest.raises(ServiceUnavailable):
                await issuer.key("key-2")

    async def test_have_a_deadline(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(issuer_module, "FETCH_SECONDS", 0.0)
        async with self.keys(machine) as issuer:
            with pytest.raises(ServiceUnavailable, match="no answer in 0 s"):
                await issuer.key("key-1")

    async def test_of_another_issuer_are_not_taken(self, machine: Machine) -> None:
        async with aiohttp.ClientSession() as session:
            issuer = Issuer(machine.issuer.url + "/other", session, Clock())
            with pytest.raises(ServiceUnavailable, match="another issuer"):
                await issuer.key("key-1")


async def test_no_refusal_shows_the_token_in_its_text(machine: Machine) -> None:
    async with aiohttp.ClientSession() as session:
        tokens = MachineTokens(Trust(machine.issuer.url, AUDIENCE, {}), Issuer(machine.issuer.url, session, Clock()))
        token = machine.token("elsewhere")
        with pytest.raises(Unauthorized) as caught:
            await tokens.authorize("demo", Secret(token))
    assert token not in repr(caught.value) + str(caught.value.headers)
