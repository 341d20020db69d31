"""The command line: `python -m control serve` and `python -m control app`."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from socket import socket

from agent import log
from agent.config import Secret
from control.auth.keys import Trust, digest, new_key
from control.errors import RequestError
from control.serve import Options, listen, serve, stop_on_signals
from control.storage.store import Store
from control.watch.folder import is_never_app_file

DATABASE = Path(".preview/control.db")


class UsageError(Exception):
    """The command line cannot be used. Only the message is shown, without a traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 after a clean stop, 2 if the command line, or a file that it names, cannot be used."""
    given = _parser().parse_args(arguments)
    try:
        run: int = given.run(given)
    except (UsageError, RequestError, sqlite3.Error) as error:
        _say(f"control: {error}")
        return 2
    return run


def _serve(given: argparse.Namespace) -> int:
    if given.watch is not None:
        _check_folder(given)
    trust = _trust(given)
    key = _key(given) if given.app else None
    log.configure(terminal=sys.stdout.isatty(), secrets=[key] if key else [])
    with closing(_open(given.db)) as store:
        if given.app:
            _prepare(store, given.app, key)
        try:
            listener = listen(given.host, given.port)
        except OSError as error:
            raise UsageError(f"cannot serve on {given.host} port {given.port}: {error.strerror}") from None
        watch = (given.app, given.watch) if given.watch else None
        options = Options(watch, gzip_near=given.gzip_near, trust=trust)
        asyncio.run(_until_signal(store, listener, options))
    return 0


async def _until_signal(store: Store, listener: socket, options: Options) -> None:
    await serve(store, listener, stop_on_signals(), options)


def _app(given: argparse.Namespace) -> int:
    key = _key(given)
    generated = key is None
    key = key or new_key()
    with closing(_open(given.db)) as store:
        made = store.add_app(given.id)
        store.add_key(given.id, digest(key))
    _say(f"{given.id}: {'created' if made else 'key added'}")
    if generated:
        sys.stdout.write(key.reveal() + "\n")
    return 0


def _prepare(store: Store, app_id: str, key: Secret | None) -> None:
    """Create the app if it is missing and add `key`. A new app without a key gets a generated one, printed once."""
    made = store.add_app(app_id)
    if key is None and made:
        key = new_key()
        _say(f"app {app_id} was created; its key, which is shown only once: {key.reveal()}")
    if key is not None:
        store.add_key(app_id, digest(key))


def _say(line: str) -> None:
    """Write to standard error, because programs read standard output."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _key(given: argparse.Namespace) -> Secret | None:
    text: str | None = given.key
    if text is None and given.key_file is not None:
        try:
            text = given.key_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--key-file {given.key_file}: {getattr(error, 'strerror', None) or 'not UTF-8'}"
            ) from None
    elif text is None:
        text = os.environ.get("API_KEY", "").strip() or None
    if text is None:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", text):
        raise UsageError("the key is not printable ASCII without spaces, of 1 to 512 characters")
    return Secret(text)


def _open(path: Path) -> Store:
    try:
        return Store(path)
    except OSError as error:
        raise UsageError(f"--db {path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise UsageError(f"--db {path}: {error}") from None


def _check_folder(given: argparse.Namespace) -> None:
    folder, db = given.watch.resolve(), given.db.resolve()
    if not given.app:
        raise UsageError("--watch needs --app: the app whose files the folder holds")
    if not folder.is_dir():
        raise UsageError(f"--watch {given.watch}: there is no such folder")
    if db.is_relative_to(folder) and not is_never_app_file(str(db.relative_to(folder))):
        raise UsageError(
            f"--db {given.db} is inside the watched folder, so every write would cause another: choose another path"
        )


def _trust(given: argparse.Namespace) -> Trust | None:
    options = {"--oidc-issuer": given.oidc_issuer, "--oidc-audience": given.oidc_audience}
    options["--oidc-machine"] = given.oidc_machine
    missing = [name for name, value in options.items() if not value]
    if len(missing) == len(options):
        return None
    if missing:
        raise UsageError(
            f"{missing[0]} is missing: --oidc-issuer, --oidc-audience and --oidc-machine must be given together"
        )
    machines: dict[str, frozenset[tuple[str, str]]] = {}
    for app_id, machine in given.oidc_machine:
        machines[app_id] = machines.get(app_id, frozenset()) | {machine}
    return Trust(given.oidc_issuer, given.oidc_audience.rstrip("/"), machines)


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an http:// or https:// address")
    return text


def _machine(text: str) -> tuple[str, tuple[str, str]]:
    found = re.fullmatch(r"([^=/]+)=([a-z0-9-]+)/([A-Za-z0-9]+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not APP_ID=FLY_APP/MACHINE_ID")
    return _app_id(found[1]), (found[2], found[3])


def _app_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", text) or text in {".", ".."}:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 128 letters, digits, '.', '_', '~' or '-'")
    return text


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 (any free one) to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m control",
        description="The control plane: serves the files of apps to preview agents, and stores their reports.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    keys = argparse.ArgumentParser(add_help=False)
    keys.add_argument("--db", type=Path, default=DATABASE, metavar="PATH", help="the database (default: %(default)s)")
    key = keys.add_mutually_exclusive_group()
    key.add_argument("--key", metavar="KEY", help="the app's key; visible in process lists, so prefer:")
    key.add_argument("--key-file", type=Path, metavar="FILE", help="a file that contains the key")

    command = commands.add_parser(
        "serve",
        parents=[keys],
        help="serve until SIGTERM or Ctrl-C",
        description="Serve the files API until SIGTERM or Ctrl-C; a second signal exits at once.",
        epilog="The key can also be given in the environment, as API_KEY. A new app without a key gets a generated "
        "one, which is printed once.",
    )
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    command.add_argument("--port", type=_port, default=8080, help="the port; 0 picks a free one (default: %(default)s)")
    command.add_argument("--app", type=_app_id, metavar="ID", help="serve this app, and create it if it is missing")
    command.add_argument(
        "--watch", type=Path, metavar="DIR", help="serve this folder as the app's files: every save becomes a revision"
    )
    command.add_argument(
        "--gzip-near",
        action="store_true",
        help="compress for clients on this machine too, where compressing takes longer than sending",
    )
    tokens = command.add_argument_group(
        "machines without a key", "Agents on Fly send an OIDC token that they get from their machine's socket."
    )
    tokens.add_argument(
        "--oidc-issuer",
        type=_address,
        metavar="URL",
        help="the issuer that signs them: https://oidc.fly.io/<organization>",
    )
    tokens.add_argument(
        "--oidc-audience", type=_address, metavar="URL", help="this backend's address, equal to the agents' API_URL"
    )
    tokens.add_argument(
        "--oidc-machine",
        type=_machine,
        action="append",
        metavar="APP_ID=FLY_APP/MACHINE_ID",
        help="a machine that previews an app; can be repeated",
    )
    command.set_defaults(run=_serve)

    command = commands.add_parser(
        "app",
        parents=[keys],
        help="create an app, or add a key to one",
        description="Create an app, or add a key to one. Without --key, --key-file and API_KEY in the environment, "
        "a key is generated and printed once: only its hash is stored.",
    )
    command.add_argument("id", type=_app_id, metavar="ID", help="the app's id")
    command.set_defaults(run=_app)
    return parser


if __name__ == "__main__":
    sys.exit(main())
