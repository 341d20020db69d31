"""`scripts/dev [DIR]`: previews a folder on this machine.

Starts the control plane, which watches the folder, and the agent, which previews it. Prints the address, and ends both
on Ctrl-C. An agent that went to sleep (IDLE_TIMEOUT=20s scripts/dev) is started again by the next visit, as on a hosted
machine. Exit status: 0 after Ctrl-C or SIGTERM (130 while the workspace is being created), 1 if one of the two programs
ended by itself, 2 if the folder cannot be previewed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from control.dev import options
from control.dev.agent_loop import AgentLoop
from control.dev.ports import SHOWN, free_ports
from control.dev.processes import Program, ProgramFailed, running
from control.dev.terminal import Terminal
from control.dev.wake_on_connect import AgentNotListening
from control.dev.workspace import CannotPreview, PreviewFolder, installers_path, open_preview_folder


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = options.parser().parse_args(arguments)
    folder = chosen.folder
    terminal = Terminal(sys.stdout)
    try:
        if wrong := options.app_dir(folder, chosen.app_dir):
            raise CannotPreview(wrong)
        terminal.progress("preparing the workspace")
        with open_preview_folder(folder) as place:
            ports = free_ports(chosen.port)
            place.write_address(f"http://localhost:{ports[SHOWN]}")
            return asyncio.run(_run(folder.resolve(), place, terminal, ports, chosen.app_dir))
    except CannotPreview as error:
        terminal.say(f"scripts/dev: {error}")
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(
    folder: Path, place: PreviewFolder, terminal: Terminal, ports: dict[str, int], app_dir: str | None
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    control_log, agent_log = place.home / "control.log", place.home / "agent.log"
    for log in (control_log, agent_log):
        log.unlink(missing_ok=True)
    control = running("control", _control(folder, place, ports), dict(os.environ), control_log, terminal.say)
    agent = AgentLoop(
        start=lambda: running("agent", _agent(), _agent_environ(place, ports, app_dir), agent_log, terminal.say),
        announce=lambda first: _announce(folder, ports, terminal, first=first),
        port=ports[SHOWN],
        say=terminal.say,
    )
    status = 0
    try:
        async with control as the_control, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_watch_control(the_control), name="control"),
                group.create_task(agent.run(), name="agent"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
            terminal.say("stopping")
    except* (ProgramFailed, AgentNotListening) as ended:
        terminal.say(str(_first(ended)))
        status = 1
    return status


async def _announce(folder: Path, ports: dict[str, int], terminal: Terminal, *, first: bool) -> None:
    from control.dev.announce import announce  # noqa: PLC0415 - takes 0.3 s, while the programs start

    await announce(folder, ports[SHOWN], ports["AGENT_PORT"], terminal, first=first)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _watch_control(program: Program) -> None:
    await program.watch()
    raise ProgramFailed(f"the {program.name} ended by itself")


def _control(folder: Path, place: PreviewFolder, ports: dict[str, int]) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(ports["control"])]
    kept = ["--db", str(place.database), "--key-file", str(place.key_file)]
    return [sys.executable, "-m", "control", "serve", *address, *kept, "--app", place.app_id, "--watch", str(folder)]


def _agent() -> list[str]:
    return [sys.executable, "-m", "agent", "run"]


def _agent_environ(place: PreviewFolder, ports: dict[str, int], app_dir: str | None = None) -> dict[str, str]:
    """Return the agent's settings (contract, section 1).

    The key of another backend in the developer's shell is removed. The agent sleeps only if IDLE_TIMEOUT is set,
    because it cannot see that somebody works in an editor beside the page.
    """
    environ = {name: value for name, value in os.environ.items() if name not in {"API_KEY", "FLY_MACHINE_ID"}}
    return {
        **environ,
        "PATH": f"{installers_path()}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "APP_ID": place.app_id,
        "API_URL": f"http://127.0.0.1:{ports['control']}",
        "API_KEY_FILE": str(place.key_file),
        "WORKSPACE": str(place.workspace),
        "STATE_DIR": str(place.state),
        "SLEEP_MODE": "exit",
        "IDLE_TIMEOUT": os.environ.get("IDLE_TIMEOUT", "0"),
        **({} if app_dir is None else {"APP_DIR": os.path.normpath(app_dir)}),
        **{name: str(port) for name, port in ports.items() if name.endswith("PORT")},
    }


if __name__ == "__main__":
    sys.exit(main())
