"""What scripts/setup.py finds missing, and what it leaves alone."""

from __future__ import annotations

import ast
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import setup

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, a cache with nothing in it, and a log."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(setup, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(setup, "LOG", tmp_path / "log")
    return tools


def tool(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_tool_that_is_missing_is_named_with_the_way_to_get_it(tools: Path) -> None:
    with pytest.raises(setup.Missing, match=r"node is not on PATH; Node.js 20.9 or newer(.|\n)*apt-get install nodejs"):
        setup.template_packages()
    tool(tools / "node", "echo v22.1.0")
    with pytest.raises(setup.Missing, match="npm is not on PATH"):
        setup.template_packages()


@pytest.mark.parametrize("said", ["v20.8.9", "v9.99.0", "", "node"])
def test_a_node_that_is_too_old_or_says_nothing_is_refused(tools: Path, said: str) -> None:
    tool(tools / "node", f"echo {said}")
    tool(tools / "npm", "")
    with pytest.raises(setup.Missing, match=r"Node.js 20.9 or newer is needed, and node here is"):
        setup.template_packages()


def test_the_templates_packages_are_installed_once_for_each_lock_file(tools: Path, tmp_path: Path) -> None:
    tool(tools / "node", "echo v20.9.0")
    tool(tools / "npm", f'/bin/mkdir node_modules; echo "$@" >> {tmp_path}/calls')
    setup.template_packages()
    setup.template_packages()
    lock = (ROOT / "runtime/next-template/package-lock.json").read_bytes()
    assert (tmp_path / "cache/modules" / hashlib.sha256(lock).hexdigest()[:16] / "node_modules").is_dir()
    assert (tmp_path / "calls").read_text() == "ci --no-audit --no-fund\n"


def test_an_install_that_failed_shows_its_last_lines_and_is_tried_again(tools: Path) -> None:
    tool(tools / "node", "echo v20.9.0")
    tool(tools / "npm", "/bin/mkdir node_modules; echo no space left; exit 7")
    for _ in range(2):
        with pytest.raises(setup.Missing, match=r"npm packages.* failed: npm ci(.|\n)*no space left"):
            setup.template_packages()


def test_chromium_is_asked_for_where_it_cannot_be_installed(tools: Path) -> None:
    with pytest.raises(setup.Missing, match="apt-get install chromium"):
        setup.chromium()  # there is no apt-get on this PATH either
    tool(tools / "chromium", "")
    setup.chromium()


def test_what_was_asked_for_is_told_from_what_comes_after() -> None:
    assert setup._split(["control", "template", "--", "-m", "control.dev", "--", "x"]) == (
        ["control", "template"],
        ["-m", "control.dev", "--", "x"],
    )
    assert setup._split(["dev"]) == (["dev"], [])


def test_without_python_the_scripts_say_so(tmp_path: Path) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    bare = {"PATH": str(tmp_path)}
    for script in ("dev", "test"):
        command = [ROOT / "scripts" / script]
        ran = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=20, check=False)
        assert (ran.returncode, ran.stderr) == (1, "python3 is not on PATH: Python 3.11 or newer is needed.\n")


def test_it_can_be_read_by_a_python_that_is_too_old() -> None:
    ast.parse((ROOT / "scripts/setup.py").read_text("utf-8"), feature_version=(3, 7))
