"""The supervisor over the real Next.js."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from agent.clock import Clock
from agent.devserver.supervisor import Supervisor
from agent.process.find import is_free
from tests.peers.dev_server import Board, applied, living

pytestmark = [pytest.mark.next, pytest.mark.timeout(180)]

HERO = """"use client";

export default function Hero() {
  return (
    <p>hello</p>
  );
}
"""

PAGE = """import Hero from "../components/Hero";

export default function Page() {
  return <Hero />;
}
"""


@dataclass
class Project:
    folder: Path
    board: Board
    supervisor: Supervisor
    port: int

    def write(self, path: str, text: str) -> None:
        """As the sync does: staged outside what Next watches, renamed into place, told."""
        staged = self.folder.with_name(f"{self.folder.name}.staged")
        staged.write_text(text, "utf-8")
        (self.folder / path).parent.mkdir(exist_ok=True)
        staged.rename(self.folder / path)
        self.supervisor.files_changed(applied(path))


@pytest.fixture
async def project(
    workspace: Callable[..., Path], free_port: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Project]:
    """A small app on the template, ready to be seen. At its end nothing of it may be left."""
    # Next's first page may take longer on a busy machine than these tests wait for anything else.
    monkeypatch.setattr("tests.peers.dev_server.WAIT_SECONDS", 60.0)
    folder, port, board = workspace(), free_port(), Board()
    supervisor = Supervisor(
        workspace=folder,
        state_dir=tmp_path / "state",
        port=port,
        clock=Clock(chance=lambda: 0.0),
        publish=board.publish,
        problems=board.problems,
        environ=os.environ,
    )
    project = Project(folder, board, supervisor, port)
    project.write("components/Hero.tsx", HERO)
    project.write("app/page.tsx", PAGE)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(supervisor.run())
        try:
            await board.state("ready")
            yield project
        finally:
            session = board.now.pid
            await supervisor.stop()
    assert session is None or not living(session)
    assert is_free(port)


async def test_a_syntax_error_is_a_problem_with_its_place_until_it_is_mended(project: Project) -> None:
    board = project.board
    await board.until(lambda: "compile" in board.told)
    project.write("components/Hero.tsx", HERO.replace("return (", "return (("))
    await board.until(lambda: board.told["compile"])
    (problem,) = board.told["compile"]
    project.write("components/Hero.tsx", HERO)
    await board.until(lambda: not board.told["compile"])

    assert (problem.file, problem.line) == ("components/Hero.tsx", 6)
    assert "Expected ','" in problem.message
    assert "\x1b" not in problem.message


async def test_whichever_process_is_killed_the_server_is_back_and_its_relatives_are_gone(project: Project) -> None:
    board, first = project.board, project.board.pid
    (worker,) = (child for child in psutil.Process(first).children() if child.name().startswith("next-server"))
    worker.kill()
    await board.state("ready", starts=1)
    second = board.pid
    os.kill(second, signal.SIGKILL)
    back = await board.state("ready", starts=2)

    assert back.crashes == 2
    assert any("exited with status 0" in facts.reason for facts in board.states)
    assert not living(first)
    assert not living(second)


async def test_a_changed_configuration_is_no_crash_and_a_broken_one_is_mended(project: Project) -> None:
    board, pid = project.board, project.board.pid
    good = (project.folder / "next.config.ts").read_text("utf-8")
    project.write("next.config.ts", good + "\n// changed\n")
    await board.state("unresponsive")
    same = await board.state("ready")
    assert (same.pid, same.crashes) == (pid, 0)

    project.write("next.config.ts", "export default {{;\n")
    await board.until(lambda: board.now.crashes)
    (problem,) = board.told["dev_server"]
    assert "next.config cannot be loaded" in problem.message
    project.write("next.config.ts", good)
    await board.until(lambda: board.now.state == "ready")
    assert board.told["dev_server"] == ()


async def test_an_app_below_a_path_is_found_there_and_its_errors_are_heard_under_its_prefix(project: Project) -> None:
    board = project.board
    assert (board.now.framework, board.now.start_path) == ("next", "/")
    assert board.now.command == f"next dev -p {project.port} -H 127.0.0.1"
    good = (project.folder / "next.config.ts").read_text("utf-8")
    below = good.replace(
        "export default", "const own: NextConfig = {basePath: '/shop', assetPrefix: '/assets'};\nexport default"
    )
    project.write("next.config.ts", re.sub(r"export default (\w+)", r"export default {...\1, ...own}", below))
    await board.until(lambda: board.now.start_path == "/shop" and board.now.state == "ready")
    project.write("components/Hero.tsx", HERO.replace("return (", "return (("))
    await board.until(lambda: board.told["compile"])
    (problem,) = board.told["compile"]
    project.write("components/Hero.tsx", HERO)
    await board.until(lambda: not board.told["compile"])

    assert (problem.file, problem.line) == ("components/Hero.tsx", 6)
