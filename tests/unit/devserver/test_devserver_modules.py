"""What of the workspace is read by an agent that may read everything."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from agent.devserver.memory import MIB
from agent.packages.node_modules import Modules
from tests.peers.nested import nest

NOBODY = (65534, 65534)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that is not the app's, with a second name in its workspace, as some kernels let everybody give it one."""
    (tmp_path / "app").mkdir()
    (tmp_path / "key").write_text("secret")
    os.link(tmp_path / "key", tmp_path / "app" / "bun.lock")
    return tmp_path / "key"


@pytest.mark.usefixtures("secret")
def test_another_name_of_a_strangers_file_is_not_read(tmp_path: Path) -> None:
    modules = Modules(tmp_path / "app", tmp_path, owner=NOBODY)
    (tmp_path / "app" / "yarn.lock").write_text("its only name")
    assert modules.read("bun.lock") is None
    assert modules.read("yarn.lock") == b"its only name"
    assert modules.locks()["bun.lock"] is None


def test_without_a_user_of_its_own_the_app_shares_files_with_its_template(tmp_path: Path, secret: Path) -> None:
    assert Modules(tmp_path / "app", tmp_path).read("bun.lock") == secret.read_bytes()


def test_packages_that_user_code_nested_without_end_are_taken_away(tmp_path: Path) -> None:
    (tmp_path / "app/node_modules/gone").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    nest(tmp_path / "app/node_modules/gone", 1500)
    modules = Modules(tmp_path / "app", tmp_path / "state")
    modules.drop(["gone"])
    assert list((tmp_path / "app/node_modules").iterdir()) == []


def test_a_tree_of_another_layout_that_is_nested_without_end_does_not_stay_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "app/node_modules").mkdir(parents=True)
    (tmp_path / "state/packages.old").mkdir(parents=True)
    nest(tmp_path / "state/packages.old", 1500)
    modules = Modules(tmp_path / "app", tmp_path / "state")
    modules.note("digest")
    assert modules.stand_for("digest")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["packages.json"]


def test_after_a_kill_packages_are_not_searched_deeper_than_they_can_honestly_be(tmp_path: Path) -> None:
    (tmp_path / "app/node_modules").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    nest(tmp_path / "app/node_modules", 3000, "a", "node_modules")
    (tmp_path / "state/packages.begun").touch()
    Modules(tmp_path / "app", tmp_path / "state").begin(pnpm=False, own_files=False, prune=False)
    subprocess.run(("rm", "-rf", tmp_path / "app"), check=True)  # pytest's own cleaning is not up to it


def test_files_of_holes_do_not_fill_the_agents_memory(tmp_path: Path) -> None:
    paths = ["package.json", "bun.lock", *(f"packages/{number}/package.json" for number in range(20))]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        os.truncate(tmp_path / path, 10 * MIB)
    (tmp_path / "packages/last").mkdir()
    (tmp_path / "packages/last/package.json").write_text("{}")

    found = Modules(tmp_path, tmp_path).read_all([*paths, "packages/last/package.json"])

    assert sum(map(len, found.values())) <= 32 * MIB
    assert {"package.json", "bun.lock", "packages/last/package.json"} <= found.keys()


def test_a_version_as_long_as_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "node_modules/next").mkdir(parents=True)
    (tmp_path / "node_modules/next/package.json").write_text(json.dumps({"version": "1" * 1000}))
    assert Modules(tmp_path, tmp_path).version("next") is None
