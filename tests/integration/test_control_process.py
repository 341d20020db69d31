"""The control plane as a process: its command line, its end by signals, and what is left when it is killed."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.peers.control import KEY, LINES, ROOT, Answer, Client, process


async def command(*arguments: object, **environment: str) -> tuple[int | None, str, str]:
    handle = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "control", *map(str, arguments)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        out, err = await handle.communicate()
    return handle.returncode, out.decode(), err.decode()


async def held(session: aiohttp.ClientSession, url: str) -> asyncio.Task[Answer]:
    """A held request: its answer to come."""
    client = Client(session, url)
    tag = (await client.put({"a": "1"}))["etag"]
    waiting = asyncio.create_task(client.files({"If-None-Match": tag, "Prefer": "wait=60"}))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    return waiting


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_and_at_once_though_requests_are_held(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with process(tmp_path) as running, aiohttp.ClientSession() as session:
        waiting = await held(session, running.url)
        began = asyncio.get_running_loop().time()
        assert await running.end(number) == 0
        assert asyncio.get_running_loop().time() - began < 5  # far below the 60 s that were asked for
        assert (await waiting).status == 304


async def test_killed_among_puts_it_loses_nothing_acknowledged_and_serves_no_half_call(tmp_path: Path) -> None:
    acknowledged = -1
    for _ in range(5):
        async with process(tmp_path) as running, aiohttp.ClientSession() as session:
            client = Client(session, running.url)
            whole = (await client.files(LINES)).lines()
            versions = {int(entry["content"]) for entry in whole}
            assert len(versions) <= 1
            assert len(whole) in {0, 40}
            seen = max(versions, default=-1)
            assert seen in {acknowledged, acknowledged + 1}  # the one under way when it was killed may be there, whole
            acknowledged = seen

            async def write(client: Client = client) -> None:
                nonlocal acknowledged
                while True:
                    await client.put({f"f{number}": str(acknowledged + 1) for number in range(40)})
                    acknowledged += 1

            writing = asyncio.create_task(write())
            await asyncio.sleep(0.15)
            await running.end(signal.SIGKILL)
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await writing
    assert acknowledged > 5


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_key_is_made_up_for_a_new_app_and_shown_once(tmp_path: Path) -> None:
    db = tmp_path / "control.db"
    status, out, err = await command("app", "demo", "--db", db)
    assert (status, err) == (0, "demo: created\n")
    key = out.strip()
    assert key.startswith("pk_")
    assert key.encode() not in await asyncio.to_thread(all_bytes, tmp_path)
    status, out, err = await command("app", "demo", "--db", db, API_KEY="mine")
    assert (status, out, err) == (0, "", "demo: key added\n")
    (tmp_path / "key").write_text(" from-file\n")
    assert (await command("app", "demo", "--db", db, "--key-file", tmp_path / "key"))[0] == 0
    async with process(tmp_path) as running, aiohttp.ClientSession() as session:
        for opens in (key, "mine", "from-file", KEY.reveal()):
            answer = await Client(session, running.url).files({"Authorization": f"Bearer {opens}"})
            assert answer.status == 200


async def test_serving_a_new_app_shows_a_key_only_when_it_made_one_up(tmp_path: Path) -> None:
    db = tmp_path / "control.db"
    for shown, environment in ((True, {}), (False, {}), (False, {"API_KEY": "mine"})):
        handle = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "control", "serve", "--app", "demo", "--port", "0", "--db", db),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]} | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            assert handle.stdout is not None
            assert json.loads(await handle.stdout.readline())["event"] == "control.serving"
            handle.terminate()
            out, err = await handle.communicate()
        assert handle.returncode == 0
        assert ("pk_" in err.decode()) is shown
        assert b"mine" not in out + err
        assert b"pk_" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--port", "http"], "'http' is not a port"),
        (["serve", "--app", "a/b"], "'a/b' is not 1 to 128"),
        (["serve", "--watch", "."], "--watch needs --app"),
        (["serve", "--app", "a", "--watch", "/nowhere"], "there is no such folder"),
        (["serve", "--app", "a", "--watch", "{tmp}", "--db", "{tmp}/control.db"], "every write would cause another"),
        (["serve", "--oidc-issuer", "https://oidc.fly.io/acme"], "--oidc-audience is missing"),
        (["serve", "--oidc-machine", "demo=preview/e28"], "--oidc-issuer is missing"),
        (["serve", "--oidc-machine", "demo=preview"], "'demo=preview' is not APP_ID=FLY_APP/MACHINE_ID"),
        (["serve", "--oidc-issuer", "oidc.fly.io"], "'oidc.fly.io' is not an http:// or https:// address"),
        (["serve", "--db", "/proc/nowhere/control.db"], "--db /proc/nowhere/control.db"),
        (["serve", "--db", "{tmp}"], "unable to open database file"),
        (["serve", "--db", "{tmp}/x.db", "--host", "256.0.0.1"], "cannot serve on 256.0.0.1"),
        (["serve", "--db", "{tmp}/x.db", "--port", "{taken}"], "Address already in use"),
        (["app", "a", "--db", "{tmp}/x.db", "--key", "has space"], "the key is not printable ASCII"),
        (["app", "a", "--db", "{tmp}/x.db", "--key-file", "/nowhere"], "--key-file /nowhere: No such file"),
    ],
)
async def test_what_cannot_be_used_ends_it_with_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        filled = [word.format(tmp=tmp_path, taken=taken.getsockname()[1]) for word in arguments]
        status, out, err = await command(*filled)
    assert status == 2
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["app", "--help"]])
async def test_help_is_there(arguments: list[str]) -> None:
    status, out, _ = await command(*arguments)
    assert status == 0
    assert "usage: python -m control" in out
