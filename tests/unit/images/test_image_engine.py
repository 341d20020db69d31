"""Which engine is taken, what it is told, and what is said where there is none. The engines are small programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.images import engine
from scripts.images.engine import Failed, Unavailable


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


@pytest.mark.usefixtures("programs")
def test_where_there_is_no_engine_the_reason_and_the_cure_are_one_line() -> None:
    with pytest.raises(Unavailable) as why:
        engine.find({})
    assert str(why.value).startswith("no container engine: podman is not on PATH, docker is not on PATH")
    assert "\n" not in str(why.value)


def test_an_engine_that_does_not_answer_is_passed_over(programs: Path) -> None:
    install(programs, "podman", "exit 125")
    install(programs, "docker", "exit 0")
    assert engine.find({}).program == "docker"
    with pytest.raises(Unavailable, match="`podman info` fails"):
        engine.find({"IMAGE_ENGINE": "podman"})


def test_an_engine_that_is_asked_for_by_name_is_the_one(programs: Path) -> None:
    install(programs, "podman", "exit 0")
    install(programs, "docker", "exit 0")
    assert engine.find({}).program == "podman"
    assert engine.find({"IMAGE_ENGINE": "docker"}).program == "docker"
    with pytest.raises(Unavailable, match="podman or docker"):
        engine.find({"IMAGE_ENGINE": "rkt"})


def test_what_this_machine_needs_comes_from_the_environment(programs: Path) -> None:
    install(programs, "podman", "exit 0")
    found = engine.find({"IMAGE_BUILD_ARGS": "--volume '/a b:/c:ro'", "IMAGE_RUN_ARGS": "--cgroups=disabled"})
    assert "/a b:/c:ro" in found.build_command()
    assert found.run_arguments == ("--cgroups=disabled",)
    assert "--build-arg" not in found.build_command()
    other = engine.find({"NODE_IMAGE": "node:22-local"}).build_command()
    assert other[other.index("--build-arg") + 1] == "NODE_IMAGE=node:22-local"


def test_a_base_that_is_not_there_is_named_with_the_command_that_gets_it(programs: Path) -> None:
    install(programs, "podman", '[ "$1" = info ]')
    with pytest.raises(Unavailable, match=r"podman pull node:22-trixie-slim"):
        engine.find({}).require_base()


def test_what_an_engine_refuses_is_told_in_its_own_words(programs: Path) -> None:
    install(programs, "podman", 'if [ "$1" != info ]; then echo "no such container" >&2; exit 125; fi')
    with pytest.raises(Failed, match="podman inspect x: no such container"):
        engine.find({}).command("inspect", "x")


def test_an_engine_that_hangs_is_not_waited_for(programs: Path) -> None:
    install(programs, "podman", f'[ "$1" = info ] || exec {sys.executable} -c "import time; time.sleep(60)"')
    with pytest.raises(Failed, match=r"podman wait x: no result within 0\.3 s"):
        engine.find({}).command("wait", "x", within=0.3)
