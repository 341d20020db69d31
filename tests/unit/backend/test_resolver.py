"""Host names are looked up by the system, and a look-up that never ends is nobody's to wait for."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from agent.backend.resolver import Names


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name server that does not answer until the event is set."""
    over = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield over
    over.set()


def looking_up() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "name look-up"]


async def test_a_name_has_the_addresses_that_the_system_knows() -> None:
    found = await Names().resolve("localhost", 80, socket.AF_INET)
    assert [(one["hostname"], one["host"], one["port"], one["family"]) for one in found] == [
        ("localhost", "127.0.0.1", 80, socket.AF_INET)
    ]


@pytest.mark.parametrize("name", ["no such name", "a" * 100 + ".example"])
async def test_what_is_no_name_is_an_error(name: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        await Names().resolve(name, 80)


async def test_an_address_that_is_good_on_one_link_only_keeps_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: said)
    (found,) = await Names().resolve("router", 80, socket.AF_INET6)
    assert found["host"] == "fe80::1%3"


async def test_a_late_answer_disturbs_nobody(silence: threading.Event) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await Names().resolve("slow.example", 80)
    (thread,) = looking_up()
    assert thread.daemon, "the end of the process would wait for it"
    silence.set()
    await asyncio.to_thread(thread.join, 30)
    assert not thread.is_alive()


def test_an_answer_that_comes_after_the_loop_disturbs_nobody(silence: threading.Event) -> None:
    async def ask() -> None:
        async with asyncio.timeout(0.05):
            await Names().resolve("slow.example", 80)

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    (thread,) = looking_up()
    silence.set()
    thread.join(30)
    assert not thread.is_alive()
