"""What of the workspace is read by an agent that may read everything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.devserver.modules import Modules

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
