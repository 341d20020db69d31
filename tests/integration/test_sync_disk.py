"""The disk's side with a disk that refuses: full, read-only, not ours; and what is said and done about it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import ConfigError, DiskError
from agent.sync.disk.store import Disk, Outcome
from agent.sync.plan import Put, plan, split_for_install
from tests.peers.backend_client import Place, read_all
from tests.peers.backend_sets import Set, known, sha, whole

ROOT = Path(__file__).parents[2]
OLD: Set = {"app/page.tsx": b"1", "app/gone.tsx": b"1", "package.json": b"{}"}
NEW: Set = {"app/page.tsx": b"2", "app/new/page.tsx": b"1", "package.json": b"{2}"}


def apply(disk: Disk, files: Set, tag: str = '"1"') -> Outcome:
    """Bring one whole set to the disk, as the loop does."""
    before = {path: record.sha256 for path, record in disk.manifest.files.items()}
    for data in files.values():
        disk.stage_bytes(sha(data), data)
    operations = plan(before, whole(files), delta=False, stale=disk.find_stale(read=True))
    return disk.apply(operations, etag=tag, revision=1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def disk(place: Place) -> Iterator[Disk]:
    made = place.disk()
    made.open()
    yield made
    made.close()


def test_a_set_is_applied_and_its_doing_told_in_order(disk: Disk, place: Place) -> None:
    first = apply(disk, OLD)
    second = apply(disk, NEW)

    assert first.written == ("app/gone.tsx", "app/page.tsx", "package.json")
    assert (second.written, second.deleted) == (("app/new/page.tsx", "app/page.tsx", "package.json"), ("app/gone.tsx",))
    assert place.files() == NEW


def test_a_burst_in_two_halves_is_one_set(disk: Disk, place: Place) -> None:
    apply(disk, OLD)
    for data in NEW.values():
        disk.stage_bytes(sha(data), data)
    ahead, rest = split_for_install(plan(known(OLD), whole(NEW), delta=False), {"package.json"}.__contains__)

    begun = disk.begin((*ahead, *rest), len(ahead), etag='"2"', revision=2)
    assert place.files() == {**OLD, "package.json": NEW["package.json"]}
    assert disk.manifest.etag == '"1"', "the disk is no set of the backend's now, and does not say that it is a new one"

    outcome = disk.complete(begun)
    assert place.files() == NEW
    assert (outcome.written[0], outcome.deleted) == ("package.json", ("app/gone.tsx",))
    assert (disk.manifest.etag, disk.manifest.revision, disk.manifest.complete) == ('"2"', 2, True)
    assert list((place.state / "staging").iterdir()) == []


@pytest.mark.parametrize("in_order", [True, False])
def test_the_second_half_is_done_by_the_next_start(disk: Disk, place: Place, in_order: bool) -> None:  # noqa: FBT001
    apply(disk, OLD)
    for data in NEW.values():
        disk.stage_bytes(sha(data), data)
    ahead, rest = split_for_install(plan(known(OLD), whole(NEW), delta=False), {"package.json"}.__contains__)
    disk.begin((*ahead, *rest), len(ahead), etag='"2"', revision=2)
    if in_order:
        disk.close()

    again = place.disk()
    outcome = again.open()
    again.close()

    assert place.files() == NEW
    assert outcome.notes == ()
    assert (again.manifest.etag, again.manifest.complete) == ('"2"', True)


def test_many_files_of_the_same_bytes_are_many_files(disk: Disk, place: Place) -> None:
    files = {f"app/{number}/page.tsx": b"the same" for number in range(50)}
    apply(disk, files)

    assert place.files() == files
    assert len({path.stat().st_ino for path in place.workspace.rglob("page.tsx")}) == 50
    assert list((place.state / "staging").iterdir()) == []


def test_a_link_on_the_way_is_an_obstacle_for_its_own_path_alone(disk: Disk, place: Place, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (place.workspace / "app").symlink_to(tmp_path / "outside")

    outcome = apply(disk, OLD)

    assert place.files() == {"package.json": b"{}"}
    assert {path for path, _ in outcome.notes} >= {"app/page.tsx", "app/gone.tsx"}
    assert outcome.unfinished is None, "waiting does not mend it"
    assert list((tmp_path / "outside").iterdir()) == []

    (place.workspace / "app").unlink()
    apply(disk, OLD)
    assert place.files() == OLD


def test_conflicts_of_two_bursts_at_one_moment_are_both_kept(place: Place) -> None:
    disk = Disk(workspace=place.workspace, state_dir=place.state, app="demo", api="test", stamp=lambda: "now")
    disk.open()
    apply(disk, OLD)
    for edit in (b"one", b"two"):
        (place.workspace / "app/page.tsx").write_bytes(edit)
        apply(disk, OLD)
    disk.close()

    assert sorted(read_all(place.state / "conflicts").values()) == [b"one", b"two"]


def test_old_conflicts_make_room(disk: Disk, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sync.disk.store.KEPT_CONFLICTS", 3)
    stamps = iter(f"{number:03}" for number in range(1_000))
    disk._stamp = lambda: next(stamps)
    apply(disk, OLD)
    for number in range(6):
        (place.workspace / "app/page.tsx").write_bytes(b"edit %d" % number)
        apply(disk, OLD)

    assert sorted(read_all(place.state / "conflicts").values()) == [b"edit 3", b"edit 4", b"edit 5"]


def test_what_was_staged_by_a_failed_attempt_is_not_fetched_again(disk: Disk) -> None:
    disk.stage_bytes(sha(b"x"), b"x")

    assert disk.stage_from_disk((Put("a", sha(b"x"), 1), Put("b", sha(b"y"), 1))) == (Put("b", sha(b"y"), 1),)


def test_a_state_folder_on_another_filesystem_is_refused(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second filesystem here")
    state = elsewhere / f"preview-test-{os.getpid()}"
    try:
        with pytest.raises(ConfigError, match="on the filesystem of WORKSPACE"):
            Disk(workspace=tmp_path / "w", state_dir=state, app="demo", api="x", stamp=str).open()
    finally:
        subprocess.run(["rm", "-rf", str(state)], check=True, timeout=10)


@pytest.mark.parametrize("what", ["workspace", "state"])
def test_a_file_in_a_folders_place_is_a_wrong_setting(place: Place, what: str) -> None:
    place.home.joinpath(what).write_bytes(b"")

    with pytest.raises(ConfigError, match="WORKSPACE or STATE_DIR"):
        place.disk().open()


def _limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_does_not_fit_fails_the_set_and_a_later_try_goes_through(disk: Disk, place: Place) -> None:
    """RLIMIT_FSIZE stands for a full disk: the write stops in the middle of the file."""
    apply(disk, OLD)
    for _ in _limit(50_000):
        with pytest.raises(DiskError, match="File too large"):
            apply(disk, NEW | {"big.bin": b"x" * 100_000}, tag='"2"')
    assert place.files() == OLD
    assert list((place.state / "staging").glob(sha(b"x" * 100_000))) == []

    apply(disk, NEW | {"big.bin": b"x" * 100_000}, tag='"2"')
    assert place.files() == NEW | {"big.bin": b"x" * 100_000}


def test_a_manifest_that_cannot_be_written_means_not_applied(
    disk: Disk, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(disk, OLD)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", _full)
        outcome = apply(disk, NEW, tag='"2"')
    assert outcome.unfinished == ("the manifest in STATE_DIR", "could not be written: No space left on device")
    assert "package.json" in outcome.written, "who installs packages must hear of it"
    tag = disk.manifest.etag
    assert tag is None

    assert apply(disk, NEW, tag='"2"').written == ()
    assert place.recorded().etag == '"2"'


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


TINY = """
import sys, pathlib
sys.path.insert(0, {root!r})
from agent.sync.disk.store import Disk
from tests.integration.test_sync_disk import apply, OLD, NEW, place_of, read_all
from agent.errors import DiskError
home = pathlib.Path({home!r})
disk = place_of(home).disk()
disk.open()
apply(disk, OLD)
big = {{f"app/{{n}}.bin": bytes([n]) * 40_000 for n in range(30)}}
for _ in range(3):
    try:
        outcome = apply(disk, NEW | big, tag='"2"')
    except DiskError as error:
        assert "No space left" in str(error), error
    else:
        raise SystemExit(f"it fitted: {{outcome}}")
    assert read_all(home / "workspace") == OLD, "the last good set stays"
smaller = NEW | {{"mid.bin": b"x" * 400_000}}
apply(disk, smaller, tag='"3"')  # fits only where the failed attempt's bytes made room
assert read_all(home / "workspace") == smaller
disk.close()
print("fine")
"""


def place_of(home: Path) -> Place:
    return Place(home)


def test_a_full_filesystem_keeps_the_last_set_and_recovers(tmp_path: Path) -> None:
    """On a tmpfs of 1 MiB in a mount namespace of its own, which ends with the process."""
    (tmp_path / "tiny").mkdir()
    script = tmp_path / "tiny.py"
    script.write_text(TINY.format(root=str(ROOT), home=str(tmp_path / "tiny")))
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}/tiny && exec {sys.executable} {script}"
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run(
        [*inside, f"mount -t tmpfs tmpfs {tmp_path}/tiny"], capture_output=True, check=False, timeout=20
    ).returncode:
        pytest.skip("this machine lets nobody mount a filesystem of their own")

    done = subprocess.run([*inside, mount], capture_output=True, text=True, check=False, timeout=40)

    assert done.stdout.strip() == "fine", done.stderr


OTHER_UID = """
import os, sys, pathlib
sys.path.insert(0, {root!r})
from tests.integration.test_sync_disk import apply, OLD, NEW, place_of, read_all
home = pathlib.Path({home!r})
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
disk = place_of(home).disk()
disk.open()
apply(disk, OLD)
os.chmod(home / "workspace/app", 0o500)
outcome = apply(disk, NEW, tag='"2"')
assert outcome.unfinished is not None and "Permission denied" in outcome.unfinished[1], outcome
assert disk.manifest.etag is None
assert read_all(home / "workspace") == OLD | {{"package.json": NEW["package.json"]}}
os.chmod(home / "workspace/app", 0o700)
apply(disk, NEW, tag='"2"')
assert read_all(home / "workspace") == NEW
os.chmod(home / "state/staging", 0o500)
try:
    apply(disk, OLD, tag='"3"')
except Exception as error:
    assert type(error).__name__ == "DiskError" and "Permission denied" in str(error), error
else:
    raise SystemExit("it was written")
os.chmod(home / "state/staging", 0o700)
apply(disk, OLD, tag='"3"')
assert read_all(home / "workspace") == OLD
disk.close()
print("fine")
"""


def test_what_may_not_be_written_is_said_and_is_tried_again(tmp_path: Path) -> None:
    """As an ordinary user: nothing is forbidden to root."""
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    script = tmp_path / "other.py"
    script.write_text(OTHER_UID.format(root=str(ROOT), home=str(home)))
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)

    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=40)

    if "PermissionError" in done.stderr and "agent" not in done.stderr:
        pytest.skip("an ordinary user cannot read this checkout")
    assert done.stdout.strip() == "fine", done.stderr


def test_the_known_set_of_these_tests_is_what_the_manifest_says(disk: Disk) -> None:
    apply(disk, OLD)

    assert {path: record.sha256 for path, record in disk.manifest.files.items()} == known(OLD)
