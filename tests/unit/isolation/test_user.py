"""Whether the app's code gets a user of its own, and what is refused because it would not hold."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.isolation.user import KERNEL, OWN_KERNEL, choose_user, may_write, prepare_user
from tests.peers.split import NOBODY, needs_split, nobody, open_folder, settings


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def refusal(folder: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        choose_user(settings(folder, **environ), {})
    return str(caught.value)


def test_an_agent_that_is_not_root_says_that_nothing_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = choose_user(settings(tmp_path), {})
    assert (found.user, found.root, found.facts.user) == (None, False, None)
    assert "does not run as root" in found.facts.reason


@needs_split
def test_a_user_that_does_not_exist_is_named(place: Path) -> None:
    found = choose_user(settings(place, DEV_USER="no-such-user"), {})
    assert (found.user, found.root) == (None, True)
    assert "there is no user no-such-user (DEV_USER)" in found.reason


@needs_split
def test_missing_tools_are_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "setpriv" else f"/usr/bin/{name}")
    found = choose_user(settings(place), {})
    assert (found.user, found.root) == (None, True)
    assert "setpriv cannot be found (Debian: coreutils, util-linux)" in found.reason


@needs_split
def test_the_tools_are_not_looked_for_on_the_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = place / "setpriv"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    user = choose_user(settings(place), {"PATH": str(place)}).user
    assert user is not None
    assert not user.tools.setpriv.startswith(str(place))


@needs_split
def test_a_number_without_a_name_is_a_user_and_a_group(place: Path) -> None:
    user = choose_user(settings(place, DEV_USER="54321"), {}).user
    assert user is not None
    assert (user.name, user.uid, user.gid) == ("54321", 54321, 54321)


@needs_split
def test_roots_group_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.isolation.user._entry", lambda _: __import__("pwd").getpwnam("root"))
    assert "neither root nor in its group" in refusal(place)


@needs_split
def test_a_workspace_that_the_user_cannot_reach_is_refused(place: Path) -> None:
    (place / "closed").mkdir(mode=0o700)
    said = refusal(place, WORKSPACE=str(place / "closed" / "workspace"))
    assert f"can reach; {place / 'closed'} is closed" in said


@needs_split
def test_a_workspace_of_some_third_user_is_refused(place: Path) -> None:
    (place / "workspace").mkdir()
    os.chown(place / "workspace", 12345, 12345)
    assert "this one belongs to user 12345" in refusal(place)


@needs_split
@pytest.mark.parametrize("mode", [0o777, 0o1777])
@pytest.mark.parametrize("setting", ["WORKSPACE", "STATE_DIR"])
def test_a_place_that_the_user_could_exchange_is_refused(place: Path, setting: str, mode: int) -> None:
    """With the sticky bit only what is the user's own can be moved away, and the workspace is in any case."""
    above = place / "shared"
    above.mkdir()
    above.chmod(mode)
    (above / "here").mkdir()
    if mode & 0o1000:
        assert choose_user(settings(place, **{setting: str(above / "here")}), {}).user is not None
        os.chown(above / "here", NOBODY, NOBODY)
        if setting == "WORKSPACE":
            assert choose_user(settings(place, WORKSPACE=str(above / "here")), {}).user is not None
            return
    assert f"may write to {above}" in refusal(place, **{setting: str(above / "here")})


@needs_split
def test_a_parent_that_is_the_users_own_is_refused_whatever_its_mode(place: Path) -> None:
    above = place / "own"
    above.mkdir(mode=0o555)
    os.chown(above, NOBODY, NOBODY)
    assert f"may write to {above}" in refusal(place, STATE_DIR=str(above / "state"))


@needs_split
def test_the_state_is_roots_alone_and_the_user_gets_a_home_and_a_scratch_folder(place: Path) -> None:
    wanted = settings(place)
    wanted.state_dir.mkdir(mode=0o777)
    os.chown(wanted.state_dir, NOBODY, NOBODY)
    (place / "closed").mkdir(mode=0o700)
    found = choose_user(wanted, {"TMPDIR": str(place / "closed")})
    for _ in range(2):  # a second start finds what the first one made
        prepare_user(found, wanted)
    assert found.user is not None
    there = wanted.state_dir.stat()
    assert (there.st_uid, there.st_mode & 0o777) == (0, 0o700)
    assert (found.user.home, found.user.tmp) == (place / "state-home", place / "state-tmp")
    for folder in (found.user.home, found.user.tmp):
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (NOBODY, 0o700)


@needs_split
def test_a_scratch_folder_that_serves_is_kept(place: Path) -> None:
    (place / "scratch").mkdir()
    (place / "scratch").chmod(0o1777)
    user = choose_user(settings(place), {"TMPDIR": str(place / "scratch")}).user
    assert user is not None
    assert user.tmp == place / "scratch"


@needs_split
@pytest.mark.parametrize(
    ("owner", "group", "mode", "writes"),
    [
        (0, 0, 0o755, False),
        (0, 0, 0o757, True),
        (0, NOBODY, 0o775, True),
        (0, NOBODY, 0o757, False),  # the group's bits decide for who is in it, as in the kernel
        (NOBODY, 0, 0o500, True),  # what is one's own can be opened
    ],
)
def test_who_may_write_a_folder(place: Path, owner: int, group: int, mode: int, writes: bool) -> None:  # noqa: FBT001 - a column of the table
    (place / "it").mkdir()
    (place / "it").chmod(mode)
    os.chown(place / "it", owner, group)
    assert may_write(place / "it", nobody(place)) is writes


@needs_split
@pytest.mark.parametrize("own", [True, False])
def test_only_a_kernel_of_the_agents_own_is_changed(place: Path, *, own: bool) -> None:
    kernel = place / "sys"
    for name in OWN_KERNEL:
        (kernel / name).parent.mkdir(parents=True, exist_ok=True)
        (kernel / name).write_text("7\n")
    (place / "state").mkdir()
    machine = {"FLY_APP_NAME": "shop", "FLY_MACHINE_ID": "1"} if own else {}
    chosen = settings(place, **machine)
    prepare_user(choose_user(chosen, {}), chosen, kernel)

    said = {name: (kernel / name).read_text() for name in OWN_KERNEL}
    assert said == ({name: f"{value}\n" for name, value in OWN_KERNEL.items()} if own else dict.fromkeys(said, "7\n"))


def test_without_room_for_user_namespaces_nobody_makes_one() -> None:
    """Tried within one, where the limit is that one's own and the machine's stays as it is."""
    name, value = next(iter(OWN_KERNEL.items()))
    script = f"unshare --user true && echo {value} > {KERNEL / name} && echo set && unshare --user true"
    try:
        ran = subprocess.run(
            ("unshare", "--user", "--map-root-user", "sh", "-c", script),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if ran.stdout != "set\n":
        pytest.skip(f"no user namespace can be made here, or its settings not changed: {ran.stderr}")

    assert ran.returncode != 0
    assert "unshare failed: No space left on device" in ran.stderr
