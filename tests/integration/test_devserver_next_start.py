"""The real Next.js, which cannot come up as its workspace is: told why, and started at once when that changes."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.next_app import Run, routes, runner

pytestmark = [pytest.mark.long, pytest.mark.next, pytest.mark.timeout(300)]

PAGE = routes("app", "the page")
TYPESCRIPT = ("typescript", "@types/react", "@types/node", "@types/react-dom")
AT_ONCE = 10.0
"""Until a new process is there; the pause before was up to 170 s. What its first page takes is the machine's matter."""
INSTRUMENTATION = "export function register() {{\n  globalThis.word = '{word}';\n}}\n"
SAYS_WORD = """export const dynamic = "force-dynamic";

export default function Page() {
  return <p>{`word: ${globalThis.word}`}</p>;
}
"""


@pytest.fixture
def run(
    workspace: Callable[..., Path], free_port: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setattr("tests.peers.dev_server.WAIT_SECONDS", 90.0)
    return runner(workspace, free_port, tmp_path / "state")


async def test_a_package_json_that_is_mended_after_the_start_is_seen_at_once(run: Run) -> None:
    manifest = ""

    def break_it(folder: Path) -> None:
        nonlocal manifest
        manifest = (folder / "package.json").read_text("utf-8")
        (folder / "package.json").write_text('{"name":"x",}')

    async with run(PAGE, prepare=break_it, shown=False) as app:
        await app.board.until(lambda: "package.json" in app.board.now.reason)
        app.apply({"package.json": manifest})
        async with asyncio.timeout(AT_ONCE):
            await app.board.until(lambda: app.board.now.pid)
        await app.shows("the page")


@pytest.fixture
def run_apart(
    workspace: Callable[..., Path],
    template_modules: Path,
    free_port: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """As `run`, in a folder below no node_modules: Next would find there what the workspace lacks."""
    monkeypatch.setattr("tests.peers.dev_server.WAIT_SECONDS", 120.0)
    home = Path(tempfile.mkdtemp(prefix="apart-", dir=template_modules.parent.parent))
    yield runner(lambda: workspace().rename(home / "1"), free_port, tmp_path / "state")
    shutil.rmtree(home, ignore_errors=True)


async def test_typescript_that_comes_after_next_has_given_up_on_it_is_taken_at_once(run_apart: Run) -> None:
    manifest, away = "", Path()

    def without_typescript(folder: Path) -> None:
        nonlocal manifest, away
        manifest, away = (folder / "package.json").read_text("utf-8"), folder.with_name("away")
        listed = json.loads(manifest)
        for name in TYPESCRIPT:
            for section in ("dependencies", "devDependencies"):
                listed.get(section, {}).pop(name, None)
            shutil.move(folder / "node_modules" / name, away / name)
        (folder / "package.json").write_text(json.dumps(listed))
        (folder / "package-lock.json").unlink()
        # Nobody listens on port 9: the registry is away.
        (folder / ".npmrc").write_text("registry=http://127.0.0.1:9/\nfetch-retries=0\n")

    typed = {"app/layout.tsx": PAGE["app/layout.jsx"], "app/page.tsx": PAGE["app/page.jsx"]}
    async with run_apart(typed, prepare=without_typescript, shown=False) as app:
        await app.board.state("failed")
        (problem,) = app.board.told["dev_server"]
        assert "add typescript, @types/react and @types/node to package.json" in problem.message
        for name in TYPESCRIPT:
            shutil.move(away / name, app.folder / "node_modules" / name)
        before = app.board.now.restarts
        app.apply({"package.json": manifest})
        async with asyncio.timeout(AT_ONCE):
            await app.board.until(lambda: app.board.now.restarts > before)
        await app.shows("the page")


@pytest.mark.parametrize("kind", ["next.config.ts", "next.config.mjs"])
async def test_a_configuration_that_lacks_a_package_is_named_and_given_up_until_files_change(
    run: Run, kind: str
) -> None:
    def replace_it(folder: Path) -> None:
        (folder / "next.config.ts").unlink()
        (folder / kind).write_text("import ms from 'ms';\nexport default { env: { WORD: String(ms('1s')) } };\n")

    async with run(PAGE, prepare=replace_it, shown=False) as app:
        failed = await app.board.state("failed")
        assert failed.crashes == 2
        assert failed.reason.startswith("next.config cannot be loaded: Cannot find ")
        assert failed.reason.endswith("; add ms to package.json, or remove the import")
        package = app.folder / "node_modules" / "ms"
        package.mkdir()
        (package / "package.json").write_text('{"name": "ms", "version": "1.0.0", "main": "index.js"}')
        (package / "index.js").write_text("module.exports = () => 1000;\n")
        before = app.board.now.restarts
        app.supervisor.hold("its packages are being installed with npm")
        app.supervisor.release()
        async with asyncio.timeout(AT_ONCE):
            await app.board.until(lambda: app.board.now.restarts > before)
        await app.shows("the page")


@pytest.mark.parametrize("folder", ["", "src/"])
async def test_instrumentation_that_comes_changes_or_goes_restarts_the_server(run: Run, folder: str) -> None:
    path = f"{folder}instrumentation.js"
    app_files = routes(f"{folder}app", "") | {f"{folder}app/page.jsx": SAYS_WORD}
    async with run(app_files) as app:
        app.apply({path: INSTRUMENTATION.format(word="first")})
        await app.shows("word: first")
        app.apply({path: INSTRUMENTATION.format(word="second")})
        await app.shows("word: second")
        app.apply({}, (path,))
        await app.shows("word: undefined")

        assert (app.board.now.restarts, app.board.now.crashes) == (3, 0)
