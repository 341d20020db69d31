"""Decides which user the app's own code runs as, and prepares that. Called once, before any of that code is started.

The app's code is hostile: anybody may have written it, or an AI on anybody's instructions. If the agent runs as root
and DEV_USER exists, the dev server and everything it starts run as that user, without any privilege (`sandbox` builds
the command line). Otherwise the agent's own user runs them, and `reason` says why; /status, the log and `agent check`
show it.

Invariants: the separation is complete or is not made. If it would not hold, because DEV_USER could replace the agent's
own folders, a ConfigError is raised. The tools are searched in the system's folders only: they run as root, and PATH
comes from the environment.
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
    # In its own user namespace a user has all capabilities, and can reach much more of the kernel with them.
    "user/max_user_namespaces": 0,
    # A distribution's init sets these; a virtual machine that boots an image directly has no such init.
    "fs/protected_hardlinks": 1,
    "fs/protected_symlinks": 1,
}
"""Kernel settings that restrict the app's code and that no preview needs."""


@dataclass(frozen=True, slots=True)
class SandboxTools:
    """Paths of the programs that drop privileges: `nice` of coreutils, the others of util-linux."""

    nice: str
    choom: str
    prlimit: str
    setpriv: str


@dataclass(frozen=True, slots=True)
class DevUser:
    name: str
    uid: int
    gid: int
    home: Path
    """A folder that the user can write, as is `tmp`."""
    tmp: Path
    tools: SandboxTools


@dataclass(frozen=True, slots=True)
class Isolation:
    user: DevUser | None
    """None: the agent's own user runs the app's code."""
    reason: str
    root: bool
    """The agent runs as root, so that a `user` of None is dangerous."""

    @property
    def facts(self) -> IsolationFacts:
        return IsolationFacts(self.user.name if self.user else None, self.reason)


def choose_user(settings: Settings, environ: Mapping[str, str]) -> Isolation:
    """Decide, and change nothing. Raises ConfigError if the separation would not hold."""
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
    user = _user(entry, settings, environ, SandboxTools(*paths))
    for setting, path in (("WORKSPACE", settings.workspace), ("STATE_DIR", settings.state_dir)):
        _check_folder(setting, path, user)
    return Isolation(user, f"user {user.name} ({user.uid}) runs the dev server, without any privilege", root=True)


def prepare_user(isolation: Isolation, settings: Settings, kernel: Path = KERNEL) -> None:
    """Close the state folder to all but root, create the user's own folders, and on a Fly machine, which has a kernel
    of its own, set OWN_KERNEL. Raises ConfigError.
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
            f"DEV_USER {user.name} cannot be separated: {error.filename}: {error.strerror} (STATE_DIR has to be root's,"
            " and the folder that it is in has to take new folders)"
        ) from error
    with suppress(OSError):  # some containers do not allow a lower score than the one it started with
        Path("/proc/self/oom_score_adj").write_text(str(AGENT_OOM_SCORE), "ascii")
    for name, value in OWN_KERNEL.items() if settings.fly is not None else ():
        with suppress(OSError):  # this kernel does not have the setting
            (kernel / name).write_text(f"{value}\n", "ascii")


def _entry(name: str) -> pwd.struct_passwd | None:
    """The user with this name or number. A number without a name is its own group."""
    with suppress(KeyError):
        return pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    if name.isdigit():
        return pwd.struct_passwd((name, "x", int(name), int(name), "", "/nonexistent", ""))
    return None


def _user(entry: pwd.struct_passwd, settings: Settings, environ: Mapping[str, str], tools: SandboxTools) -> DevUser:
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise ConfigError(f"DEV_USER is {settings.dev_user!r} (it takes a user that is neither root nor in its group)")
    # Beside STATE_DIR, where only root can create files; not in it, because only root can enter it.
    beside = settings.state_dir
    made = {name: beside.with_name(f"{beside.name}-{name}") for name in ("home", "tmp")}
    user = DevUser(entry.pw_name, entry.pw_uid, entry.pw_gid, made["home"], made["tmp"], tools)
    home, tmp = Path(entry.pw_dir), Path(environ.get("TMPDIR") or tempfile.gettempdir())
    if _owner(home) == user.uid and os.access(home, os.W_OK):  # for root this only tests for a read-only disk
        user = replace(user, home=home)
    if tmp.is_absolute() and may_write(tmp, user) and os.access(tmp, os.W_OK):
        user = replace(user, tmp=tmp)
    return user


def _check_folder(setting: str, path: Path, user: DevUser) -> None:
    """Check the folders above `path`: the user has to reach WORKSPACE through them, and must not be able to replace
    what is in them, because the agent, as root, opens its files by path.
    """
    if setting == "WORKSPACE" and path.is_dir() and path.stat().st_uid != 0 and not may_write(path, user):
        raise ConfigError(
            f"WORKSPACE is {str(path)!r} (it takes a folder that DEV_USER {user.name} can write; this one belongs to"
            f" user {path.stat().st_uid})"
        )
    for above, below in _ancestors(path):
        if setting == "WORKSPACE" and not _may(above.stat(), user, stat.S_IXUSR):
            raise ConfigError(
                f"WORKSPACE is {str(path)!r} (it takes a folder that DEV_USER {user.name} can reach; {above} is closed)"
            )
        if may_write(above, user) and not _is_protected(above, below, user, is_workspace=setting == "WORKSPACE"):
            raise ConfigError(
                f"{setting} is {str(path)!r} (it takes a folder that DEV_USER {user.name} cannot move away; that user"
                f" may write to {above})"
            )


def _ancestors(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each existing folder above `path`, with the folder in it that leads there."""
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


def _is_protected(above: Path, below: Path, user: DevUser, *, is_workspace: bool) -> bool:
    """Whether the sticky bit of `above` keeps the user from moving `below` away. The workspace may be the user's own:
    it is opened without following a link.
    """
    there = above.stat()
    return (
        bool(there.st_mode & stat.S_ISVTX) and there.st_uid != user.uid and (is_workspace or _owner(below) != user.uid)
    )


def _owner(path: Path) -> int | None:
    try:
        there = path.lstat()
    except OSError:
        return None
    return there.st_uid if stat.S_ISDIR(there.st_mode) else None


def _may(there: os.stat_result, user: DevUser, right: int) -> bool:
    """Check `right` (S_IWUSR or S_IXUSR) as the kernel does: the first class that matches decides."""
    if there.st_uid == user.uid:
        return bool(there.st_mode & right)
    if there.st_gid == user.gid:
        return bool(there.st_mode & right >> 3)
    return bool(there.st_mode & right >> 6)
