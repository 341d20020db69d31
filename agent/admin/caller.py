"""Who is at the other end of a connection to AGENT_PORT: the app's own code, or somebody else.

Asked of the kernel, which knows the user of each socket on this machine and is told no lies. Whoever calls from an
address of this machine and cannot be found in its tables counts as the app's code.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from agent.admin.peers import Address, owner

LOOK_SECONDS = 5.0
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


async def is_app_code(transport: asyncio.Transport | None, app_user: int) -> bool:
    """Whether the peer of `transport` is, or may be, a process of the user `app_user` on this machine."""
    peer = None if transport is None else transport.get_extra_info("peername")
    here = None if transport is None else transport.get_extra_info("sockname")
    if peer is None or here is None:
        return True
    try:
        async with asyncio.timeout(LOOK_SECONDS):  # a table may have thousands of lines: not on the loop
            uid = await asyncio.to_thread(_uid, peer[:2], here[:2])
    except TimeoutError:
        return True
    return uid in {app_user, None}


def _uid(peer: Address, here: Address) -> int | None:
    """The peer's user; None where it is not known, and -1 for a peer on another machine, which is nobody's here."""
    if not _is_local(peer[0]):
        return -1
    try:
        return owner((table.read_text("ascii") for table in TABLES), peer=peer, here=here, order=sys.byteorder)
    except (OSError, ValueError):
        return None


def _is_local(host: str) -> bool:
    """Whether this machine has the address, asked of the only one who knows for certain: what can be bound is ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((host, 0))
    except OSError:
        return False
    return True
