"""`scripts/dev [DIR]`: the whole loop on this machine, from an edit in a folder to the page in a browser.

Starts the control plane, which watches the folder, and the agent, which previews it; says where to look; ends both.
Exit status: 0 after Ctrl-C or SIGTERM (130 while the workspace is still being made), 1 when one of the two ended by
itself, 2 when the folder cannot be previewed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from control.dev.programs import Ended, running
from control.dev.terminal import Terminal
from control.dev.workspace import ROOT, Place, Unusable, open_place

SAMPLE = ROOT / "examples" / "counter"
PORTS = {"control": 8080, "PORT": 3000, "DEV_PORT": 3001, "AGENT_PORT": 9090}
SHOWN = "PORT"
"""The port of the address that is printed: the gateway's."""


def main(arguments: Sequence[str] | None = None) -> int:
    folder = _parser().parse_args(arguments).folder
    terminal = Terminal(sys.stdout)
    try:
        terminal.doing("preparing the workspace")
        with open_place(folder) as place:
            return asyncio.run(_run(folder.resolve(), place, terminal))
    except Unusable as error:
        terminal.say(f"scripts/dev: {error}")
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(folder: Path, place: Place, terminal: Terminal) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ports = free_ports()
    control = running(
        "control", _control(folder, place, ports), dict(os.environ), place.home / "control.log", terminal.say
    )
    agent = running("agent", _agent(), _agent_environ(place, ports), place.home / "agent.log", terminal.say)
    status = 0
    try:
        async with control as the_control, agent as the_agent, asyncio.TaskGroup() as group:
            from control.dev.announce import announce  # noqa: PLC0415 - 0.3 s that pass while the two start

            tasks = [
                group.create_task(the_control.watch(), name="control"),
                group.create_task(the_agent.watch(), name="agent"),
                group.create_task(announce(folder, ports[SHOWN], ports["AGENT_PORT"], terminal), name="announce"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
            terminal.say("stopping")
    except* Ended as ended:
        terminal.say(str(ended.exceptions[0]))
        status = 1
    return status


def _control(folder: Path, place: Place, ports: dict[str, int]) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(ports["control"])]
    kept = ["--db", str(place.database), "--key-file", str(place.key_file)]
    return [sys.executable, "-m", "control", "serve", *address, *kept, "--app", place.app_id, "--watch", str(folder)]


def _agent() -> list[str]:
    return [sys.executable, "-m", "agent", "run"]


def _agent_environ(place: Place, ports: dict[str, int]) -> dict[str, str]:
    """The contract's section 1. What the developer's own shell says about sleep or another backend does not count."""
    environ = {name: value for name, value in os.environ.items() if name not in {"API_KEY", "FLY_MACHINE_ID"}}
    return {
        **environ,
        "APP_ID": place.app_id,
        "API_URL": f"http://127.0.0.1:{ports['control']}",
        "API_KEY_FILE": str(place.key_file),
        "WORKSPACE": str(place.workspace),
        "STATE_DIR": str(place.state),
        "SLEEP_MODE": "off",
        **{name: str(port) for name, port in ports.items() if name.endswith("PORT")},
    }


def free_ports() -> dict[str, int]:
    """The usual port for each, or where it is taken any free one. No two are the same."""
    held: list[socket.socket] = []
    try:
        for usual in PORTS.values():
            held.append(_hold(usual))  # noqa: PERF401 - what is held so far has to be let go when one fails
        return {name: probe.getsockname()[1] for name, probe in zip(PORTS, held, strict=True)}
    finally:
        for probe in held:
            probe.close()


def _hold(port: int) -> socket.socket:
    """A socket on `port` of every address, as the agent's public port is, or on a port that is free."""
    for wanted in (port, 0):
        with suppress(OSError):
            return socket.create_server(("", wanted))
    raise Unusable("there is no free port")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/dev",
        description="Preview a folder: every save in it is seen in the browser. Ctrl-C ends it.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=SAMPLE,
        metavar="DIR",
        help="a Next.js app, or the part of one that is its own: what it lacks comes from runtime/next-template "
        "(default: examples/counter)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
