"""Which user the app's own code runs as, and why. Looked up once, before anything of that code is started.

User code is hostile: it may be written by anybody, or by an AI that was told what to write. Where the agent runs as
root and DEV_USER exists, the dev server and all that it starts run as that user, without any privilege (the command
line for that is devserver/confine.py's). Everywhere else the preview works all the same, and `reason` says what keeps
the two together; /status, the log and `agent check` show it.

Invariants: a split is whole or is not made. What cannot be split safely, because DEV_USER may replace the agent's own
folders, is a ConfigError and never a quieter kind of split. The tools are found in the system's own folders only: they
run as root, and PATH is the environment's to say.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agent.config import Settings
from agent.errors import ConfigError
from agent.status import IsolationFacts

SYSTEM_FOLDERS = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
TOOLS = ("nice", "choom", "prlimit", "setpriv")
AGENT_OOM_SCORE = -500
KERNEL = Path("/proc/sys")
OWN_KERNEL: Mapping[str, int] = {
    # In a namespace of its own every user has all capabilities, and with them most of the kernel to try its luck on.
    "user/max_user_namespaces": 0,
    # A distribution's init sets these; a virtual machine that boots straight into an image has none.
    "fs/protected_hardlinks": 1,
    "fs/protected_symlinks": 1,
}
"""Settings of the kernel that take something from user code and nothing from a preview."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs that take privileges away: coreutils' `nice`, and util-linux's."""

    nice: str
    choom: str
    prlimit: str
    setpriv: str


@dataclass(frozen=True, slots=True)
class DevUser:
    """`home` and `tmp` are folders that the user can write."""

    name: str
    uid: int
    gid: int
    home: Path
    tmp: Path
    tools: Tools


@dataclass(frozen=True, slots=True)
class Isolation:
    """`user` None: there is no split. `root`: whether the agent has all rights, so that a missing split is a danger."""

    user: DevUser | None
    reason: str
    root: bool

    @property
    def facts(self) -> IsolationFacts:
        return IsolationFacts(self.user.name if self.user else None, self.reason)


def look(settings: Settings, environ: Mapping[str, str]) -> Isolation:
    """Decide it, and change nothing. Raises ConfigError where a split would not hold."""
    if os.geteuid() != 0:
        return Isolation(None, "the agent does not run as root, so its own user runs the dev server too", root=False)
    name = settings.dev_user
    entry = _entry(name)
    if entry is None:
        return Isolation(None, f"there is no user {name} (DEV_USER), so root runs the dev server too", root=True)
    found = {tool: shutil.which(tool, path=SYSTEM_FOLDERS) for tool in TOOLS}
    paths = [path for path in found.values() if path is not None]
    if len(paths) < len(found):
        absent = " and ".join(tool for tool, path in found.items() if path is None)
        reason = f"{absent} cannot be found (Debian: coreutils, util-linux), so root runs the dev server too"
        return Isolation(None, reason, root=True)
    user = _user(entry, settings, environ, Tools(*paths))
    for setting, path in (("WORKSPACE", settings.workspace), ("STATE_DIR", settings.state_dir)):
        _judge(setting, path, user)
    return Isolation(user, f"user {user.name} ({user.uid}) runs the dev server, without any privilege", root=True)


def prepare(isolation: Isolation, settings: Settings, kernel: Path = KERNEL) -> None:
    """Make what the split needs: a state folder for root alone, and the user's own folders; and on a Fly machine, whose
    kernel is the agent's own, settings of that. Raises ConfigError.
    """
    user = isolation.user
    if user is None:
        return
    try:
        os.chown(settings.state_dir, 0, 0)
        settings.state_dir.chmod(0o700)
        for folder in (user.home, user.tmp):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                os.chown(folder, user.uid, user.gid, follow_symlinks=False)
    except OSError as error:
        raise ConfigError(
            f"DEV_USER {user.name} cannot be set apart: {error.filename}: {error.strerror} (STATE_DIR has to be root's,"
            " and the folder that it is in has to take new folders)"
        ) from error
    with suppress(OSError):  # not every container allows to go below what one was born with
        Path("/proc/self/oom_score_adj").write_text(str(AGENT_OOM_SCORE), "ascii")
    for name, value in OWN_KERNEL.items() if settings.fly is not None else ():
        with suppress(OSError):  # a kernel without it
            (kernel / name).write_text(f"{value}\n", "ascii")


def _entry(name: str) -> pwd.struct_passwd | None:
    """The user of this name or number. A number needs no name: it is its own group's then."""
    with suppress(KeyError):
        return pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    if name.isdigit():
        return pwd.struct_passwd((name, "x", int(name), int(name), "", "/nonexistent", ""))
    return None


def _user(entry: pwd.struct_passwd, settings: Settings, environ: Mapping[str, str], tools: Tools) -> DevUser:
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise ConfigError(f"DEV_USER is {settings.dev_user!r} (it takes a user that is neither root nor in its group)")
    # Beside STATE_DIR, where nobody but root can put anything in the way; not in it, which nobody but root can enter.
    beside = settings.state_dir
    made = {name: beside.with_name(f"{beside.name}-{name}") for name in ("home", "tmp")}
    user = DevUser(entry.pw_name, entry.pw_uid, entry.pw_gid, made["home"], made["tmp"], tools)
    home, tmp = Path(entry.pw_dir), Path(environ.get("TMPDIR") or tempfile.gettempdir())
    if _owner(home) == user.uid and os.access(home, os.W_OK):  # for root this only asks whether the disk is read-only
        user = replace(user, home=home)
    if tmp.is_absolute() and may_write(tmp, user) and os.access(tmp, os.W_OK):
        user = replace(user, tmp=tmp)
    return user


def _judge(setting: str, path: Path, user: DevUser) -> None:
    """The folders above: the user has to get through them to WORKSPACE, and must not be able to exchange what is in
    them: the agent, which is root, opens its own files by their paths.
    """
    if setting == "WORKSPACE" and path.is_dir() and path.stat().st_uid != 0 and not may_write(path, user):
        raise ConfigError(
            f"WORKSPACE is {str(path)!r} (it takes a folder that DEV_USER {user.name} can write; this one belongs to"
            f" user {path.stat().st_uid})"
        )
    for above, below in _steps(path):
        if setting == "WORKSPACE" and not _may(above.stat(), user, stat.S_IXUSR):
            raise ConfigError(
                f"WORKSPACE is {str(path)!r} (it takes a folder that DEV_USER {user.name} can reach; {above} is closed)"
            )
        if may_write(above, user) and not _is_held(above, below, user, mine=setting == "WORKSPACE"):
            raise ConfigError(
                f"{setting} is {str(path)!r} (it takes a folder that DEV_USER {user.name} cannot move away; that user"
                f" may write to {above})"
            )


def _steps(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each existing folder above `path`, with the one in it that leads there."""
    for below in (path, *path.parents):
        if below.parent != below and below.parent.exists():
            yield below.parent, below


def may_write(folder: Path, user: DevUser) -> bool:
    """Whether the user can change the entries of `folder`, or give itself that right."""
    try:
        there = folder.stat()
    except OSError:
        return False
    return there.st_uid == user.uid or _may(there, user, stat.S_IWUSR)


def _is_held(above: Path, below: Path, user: DevUser, *, mine: bool) -> bool:
    """Whether the sticky bit keeps `below` from being moved away. The workspace is the user's own in any case, and is
    opened without following a link.
    """
    there = above.stat()
    return bool(there.st_mode & stat.S_ISVTX) and there.st_uid != user.uid and (mine or _owner(below) != user.uid)


def _owner(path: Path) -> int | None:
    try:
        there = path.lstat()
    except OSError:
        return None
    return there.st_uid if stat.S_ISDIR(there.st_mode) else None


def _may(there: os.stat_result, user: DevUser, right: int) -> bool:
    """`right`: S_IWUSR or S_IXUSR, asked as the kernel does: the first class that fits decides."""
    if there.st_uid == user.uid:
        return bool(there.st_mode & right)
    if there.st_gid == user.gid:
        return bool(there.st_mode & right >> 3)
    return bool(there.st_mode & right >> 6)
