"""What the app's files say before anything runs them, and how they are read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.app_files.reader import AppFiles, read_inside
from agent.app_files.review import NAMES_SHOWN, review
from agent.status import Applied, FileFacts

SERVER = b"import { createServer } from 'node:http'; createServer().listen(process.env.PORT);"


def seen(
    files: dict[str, bytes], *there: str, next_major: int | None = 16, environ: frozenset[str] = frozenset()
) -> FileFacts:
    return review(files, set(there), next_major=next_major, environ=environ)


def test_a_tsconfig_that_cannot_be_parsed_is_broken_and_told_with_its_line() -> None:
    found = seen({"tsconfig.json": b'{\n  "compilerOptions": {"strict": true "x": 1}\n}'})
    assert [(problem.file, problem.line, problem.column) for problem in found.broken] == [("tsconfig.json", 2, 38)]
    message, line, pointer = found.broken[0].message.split("\n")
    assert message.startswith('tsconfig.json line 2, column 38: "x" without a comma before it')
    assert line[pointer.index("^")] == '"'


def test_a_file_that_the_app_can_do_without_is_faulty_and_not_broken() -> None:
    found = seen({"package-lock.json": b"{", "packages/a/package.json": b"{,}", "apps/b/tsconfig.json": b"{"})
    assert not found.broken
    assert {(problem.source, problem.file) for problem in found.faulty} == {
        ("install", "package-lock.json"),
        ("install", "packages/a/package.json"),
        ("dev_server", "apps/b/tsconfig.json"),
    }


def test_comments_are_typescripts_and_nothing_is_wrong_with_them() -> None:
    assert seen({"tsconfig.json": b"{ // strict\n}"}) == FileFacts()
    assert seen({"package.json": b"{ // strict\n}"}).faulty


def test_middleware_beside_proxy_is_broken_where_next_takes_one() -> None:
    found = seen({}, "middleware.ts", "src/proxy.ts")
    assert found.broken[0].message == (
        "middleware.ts and src/proxy.ts are both there, and Next.js 16 does not start with both: move what "
        "middleware.ts does into src/proxy.ts, and delete middleware.ts"
    )
    assert not seen({}, "middleware.ts", "proxy.ts", next_major=15).broken
    assert not seen({}, "middleware.ts", next_major=16).broken
    assert not seen({}, "middleware.ts", "proxy.ts", next_major=None).broken


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("next dev", True),
        ("node server.mjs", False),
        ("tsx watch ./server", False),
        ("node my-server.mjs", True),
    ],
)
def test_a_server_that_the_dev_script_does_not_name_is_noted(script: str, told: bool) -> None:  # noqa: FBT001 - a table
    manifest = b'{"scripts": {"dev": "%b"}}' % script.encode()
    notes = seen({"package.json": manifest, "server.mjs": SERVER}).notes
    assert bool(notes) == told
    if told:
        assert notes[0].message == (
            f'server.mjs is not started: the dev script of package.json is "{script}", which does not name it'
        )


def test_a_module_of_that_name_that_serves_nothing_is_not_noted() -> None:
    manifest = b'{"scripts": {"dev": "next dev"}}'
    assert not seen({"package.json": manifest, "server.ts": b"export const x = 1;"}).notes


def test_the_variables_of_an_example_are_named_where_no_file_sets_them() -> None:
    example = b"# the database\nDATABASE_URL=\nexport AUTH_SECRET=x\nLANG=\n# OFF=1\n"
    notes = seen({".env.example": example}, environ=frozenset({"LANG"})).notes
    assert notes[0].message == ".env.example is there and .env.local is not: DATABASE_URL, AUTH_SECRET are not set"
    assert not seen({".env.example": example, ".env": b""}).notes
    assert not seen({".env.example": b"A=1", ".env.development": b"A=2"}).notes
    many = b"".join(b"NAME_%d=\n" % number for number in range(NAMES_SHOWN + 3))
    assert "and 3 more" in seen({".env.sample": many}).notes[0].message


def applied(*written: str) -> Applied:
    return Applied(1, None, written, (), "t", "t")


async def test_the_first_set_is_looked_at_and_then_those_that_touch_the_files(tmp_path: Path) -> None:
    told: asyncio.Queue[FileFacts] = asyncio.Queue()
    files = AppFiles(workspace=tmp_path, environ=set(), publish=told.put_nowait)
    (tmp_path / "tsconfig.json").write_text("{")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "tsconfig.json").write_text("[")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(files.run())
        files.files_changed(applied())
        assert [problem.file for problem in (await told.get()).broken] == ["tsconfig.json"]
        files.files_changed(applied("app/page.tsx"))
        (tmp_path / "tsconfig.json").write_text("{}")
        files.files_changed(applied("web/tsconfig.json"))
        last = await told.get()
        assert not last.broken
        assert [problem.file for problem in last.faulty] == ["web/tsconfig.json"]
        assert told.empty()
        running.cancel()


def test_nothing_is_read_through_a_link_or_from_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "package.json").write_text("mine")
    app = tmp_path / "app"
    app.mkdir()
    (app / "package.json").symlink_to(tmp_path / "secret" / "package.json")
    (app / "linked").symlink_to(tmp_path / "secret")
    (app / "folder.json").mkdir()
    os.mkfifo(app / "pipe.json")
    (app / "own.json").write_text("own")
    root = os.open(app, os.O_RDONLY | os.O_DIRECTORY)
    try:
        paths = ("package.json", "linked/package.json", "folder.json", "pipe.json", "gone.json", "x" * 300)
        assert [read_inside(root, path) for path in paths] == [None] * len(paths)
        assert read_inside(root, "own.json") == b"own"
    finally:
        os.close(root)
