"""Reads the environment into one frozen Settings (contract, section 1).

README's table of settings is generated from TABLE, and only `load` reads the environment. All wrong variables are named
in one message. A secret is a Secret, whose repr and str show nothing.

What must not live here: a default that depends on the state of the machine (each room checks that itself).
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from agent.errors import ConfigError

SleepMode = Literal["exit", "suspend", "off"]


class Secret:
    """A value that no log, repr or traceback shows. Only `reveal()` returns it, so that grep finds every use."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class FlyMachine:
    """The Fly app and machine, from Fly's variables, and the path of the machine's socket (agent/sleep/fly_api.py)."""

    app: str
    machine: str
    socket: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations are seconds. Paths are absolute, with links resolved. `fly` is None outside of Fly."""

    app_id: str
    api_url: str
    api_key: Secret | None
    workspace: Path
    state_dir: Path
    port: int
    dev_port: int
    agent_port: int
    app_dir: str | None
    dev_command: tuple[str, ...] | None
    dev_user: str
    poll_interval: float
    long_poll_wait: float
    idle_timeout: float
    sleep_mode: SleepMode
    machine: str
    fly: FlyMachine | None


class _Wrong(Exception):
    """Raised by a parser: what the value should have been."""


def _app_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", text) or text in {".", ".."}:
        raise _Wrong("1 to 128 letters, digits, '.', '_', '~' or '-'")
    return text


def _url(text: str) -> str:
    takes = "an http:// or https:// address without user, query and fragment"
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port != 0  # reading it is what raises for a port that is no port
    except ValueError:
        raise _Wrong(takes) from None
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain or not port_is_fine:
        raise _Wrong(takes)
    return text.rstrip("/")


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise _Wrong("a port from 1 to 65535")
    return int(text)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)
    if text == "0":
        return 0.0
    if not found:
        raise _Wrong("a number with a unit: 250ms, 3s, 5m, 1h")
    return float(found[1]) * _UNITS[found[2]]


def _pause(text: str) -> float:
    seconds = _duration(text)
    if seconds < 0.05:
        raise _Wrong("a duration of at least 50ms: 250ms, 3s, 5m")
    return seconds


def _path(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise _Wrong("an absolute path")
    return Path(text).resolve()


def _command(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        words = ()
    if not words:
        raise _Wrong("one command line with its quotes closed; {port} stands for DEV_PORT")
    return words


def _folder(text: str) -> str:
    parts = text.removeprefix("./").rstrip("/").split("/")
    if text == ".":
        return text
    if text.startswith("/") or not all(_FOLDER_NAME.fullmatch(part) for part in parts) or {".", ".."} & set(parts):
        raise _Wrong("a folder's path relative to WORKSPACE, as apps/web, or .")
    return "/".join(parts)


_FOLDER_NAME = re.compile(r"[^\x00-\x1f\x7f\\/]{1,255}")


def _user(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,9}|[A-Za-z_][A-Za-z0-9_.-]{0,31}", text) or text == "root":
        raise _Wrong("a user's name or number, other than root's")
    return text


def _sleep_mode(text: str) -> str:
    if text not in {"exit", "suspend", "off"}:
        raise _Wrong("exit, suspend or off")
    return text


def _text(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `default`: the text used if the variable is not set; None: no default."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    meaning: str
    required: bool = False
    secret: bool = False


TABLE: tuple[Setting, ...] = (
    Setting("APP_ID", None, _app_id, "ID of the app that this machine previews", required=True),
    Setting("API_URL", None, _url, "base URL of the backend, `http` or `https`", required=True),
    Setting(
        "API_KEY", None, Secret, "bearer token for the backend, and for this agent's own `POST` endpoints", secret=True
    ),
    Setting("API_KEY_FILE", None, _path, "file that contains the token, instead of `API_KEY`"),
    Setting("WORKSPACE", "/workspace", _path, "root folder of the project, where files are written"),
    Setting(
        "STATE_DIR",
        "/var/lib/preview-agent",
        _path,
        "folder for the agent's own state, outside of `WORKSPACE` and on the same filesystem",
    ),
    Setting("PORT", "3000", _port, "public port of the preview, on `0.0.0.0`; forwarded to the dev server"),
    Setting("DEV_PORT", "3001", _port, "port of the dev server, on `127.0.0.1` only"),
    Setting("AGENT_PORT", "9090", _port, "port for health, status, logs and metrics"),
    Setting(
        "APP_DIR",
        None,
        _folder,
        "folder of the app to run, relative to `WORKSPACE`; needed if there are several apps",
    ),
    Setting(
        "DEV_COMMAND",
        None,
        _command,
        "command to run instead of the app's `dev` script: one shell-quoted string, run without a shell in "
        "`WORKSPACE`; `{port}` stands for `DEV_PORT`",
    ),
    Setting(
        "DEV_USER",
        "preview",
        _user,
        "user that runs the dev server, by name or number, if the agent runs as root and this user exists",
    ),
    Setting("POLL_INTERVAL", "3s", _pause, "pause between polls if the backend does not hold requests"),
    Setting("LONG_POLL_WAIT", "25s", _duration, "how long the backend is asked to hold a request; `0`: never"),
    Setting("IDLE_TIMEOUT", "5m", _duration, "time without activity before the machine goes to sleep; `0`: never"),
    Setting(
        "SLEEP_MODE",
        "exit",
        _sleep_mode,
        "`exit` (the agent exits and the machine stops), `suspend` (snapshot, or exit if refused), `off`",
    ),
    Setting("FLY_MACHINE_ID", None, _text, "set by Fly: the machine's name in reports; elsewhere it is the host name"),
    Setting("FLY_APP_NAME", None, _text, "set by Fly: the Fly app of the machine"),
    Setting("FLY_API_SOCKET", "/.fly/api", _path, "path of the machine's own socket on Fly"),
)


def load(environ: Mapping[str, str], hostname: Callable[[], str] = socket.gethostname) -> Settings:
    """Read every setting. Raises one ConfigError that names each wrong variable, its value and what it takes.

    A variable that is set but empty counts as not set, because compose files and CI systems set such variables.
    """
    wrong: list[str] = []
    got: dict[str, Any] = {}
    for row in TABLE:
        text = environ.get(row.name, "").strip() or row.default
        if text is None:
            got[row.name] = None
            if row.required:
                wrong.append(f"{row.name} is not set (it takes {_takes(row)})")
            continue
        try:
            got[row.name] = row.parse(text)
        except _Wrong as error:
            shown = "a value that is not shown" if row.secret or row.name == "API_URL" else repr(text)
            wrong.append(f"{row.name} is {shown} (it takes {error})")
    wrong += _conflicts(got)
    key = _key(got, wrong)
    if wrong:
        raise ConfigError("; ".join(wrong))
    return Settings(
        app_id=got["APP_ID"],
        api_url=got["API_URL"],
        api_key=key,
        workspace=got["WORKSPACE"],
        state_dir=got["STATE_DIR"],
        port=got["PORT"],
        dev_port=got["DEV_PORT"],
        agent_port=got["AGENT_PORT"],
        app_dir=got["APP_DIR"],
        dev_command=_with_port(got["DEV_COMMAND"], got["DEV_PORT"]),
        dev_user=got["DEV_USER"],
        poll_interval=got["POLL_INTERVAL"],
        long_poll_wait=got["LONG_POLL_WAIT"],
        idle_timeout=got["IDLE_TIMEOUT"],
        sleep_mode=got["SLEEP_MODE"],
        machine=got["FLY_MACHINE_ID"] or hostname(),
        fly=_fly(got["FLY_APP_NAME"], got["FLY_MACHINE_ID"], got["FLY_API_SOCKET"]),
    )


def _with_port(words: tuple[str, ...] | None, port: int) -> tuple[str, ...] | None:
    return None if words is None else tuple(word.replace("{port}", str(port)) for word in words)


def _fly(app: str | None, machine: str | None, path: Path) -> FlyMachine | None:
    return FlyMachine(app, machine, path) if app and machine else None


def _takes(row: Setting) -> str:
    try:
        row.parse("\0")
    except _Wrong as error:
        return str(error)
    return row.meaning


def _conflicts(got: Mapping[str, Any]) -> list[str]:
    """Variables that are valid alone but not together."""
    wrong = []
    ports = [(name, got[name]) for name in ("PORT", "DEV_PORT", "AGENT_PORT") if name in got]
    for place, (name, port) in enumerate(ports):
        for other, taken in ports[:place]:
            if port == taken:
                wrong.append(f"{name} is {port} (it takes a port other than {other}'s)")
    workspace, state = got.get("WORKSPACE"), got.get("STATE_DIR")
    if workspace and state and state.is_relative_to(workspace):
        wrong.append(f"STATE_DIR is {str(state)!r} (it takes a folder outside WORKSPACE, {str(workspace)!r})")
    return wrong


def _key(got: Mapping[str, Any], wrong: list[str]) -> Secret | None:
    key: Secret | None = got.get("API_KEY")
    path: Path | None = got.get("API_KEY_FILE")
    if key is None and path is not None:
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            wrong.append(f"API_KEY_FILE is {str(path)!r} (it takes a readable file: {reason})")
            return None
        if not text:
            wrong.append(f"API_KEY_FILE is {str(path)!r} (it takes a file with the key in it; this one is empty)")
            return None
        key = Secret(text)
    if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key.reveal()):
        wrong.append("API_KEY is a value that is not shown (it takes printable ASCII without spaces)")
        return None
    return key
