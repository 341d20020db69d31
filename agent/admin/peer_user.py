"""Determines whether the peer of a connection to AGENT_PORT is the app's own code, from the kernel's connection table.

/proc/net/tcp and tcp6 have one line per socket: number, local and remote address, state, …, uid, …, inode. The line
whose local address is our connection's peer is the client's socket. Addresses are 32-bit words in the machine's byte
order, in hexadecimal. A client may have reached an IPv4 port through an IPv6 socket. A socket that its program has
closed keeps its line for a while with uid and inode 0, which must not be taken for root. A local peer that is not in
the table is treated as the app's code.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

Address = tuple[str, int]
"""An IP address as text, and a port."""
ByteOrder = Literal["little", "big"]

_UID, _INODE = 7, 9


def socket_owner(tables: Iterable[str], *, peer: Address, here: Address, order: ByteOrder) -> int | None:
    """The uid of the peer's process, or None if no table has the socket or the process has closed it."""
    wanted = {f"{_hex(*peer, order, wide=wide)} {_hex(*here, order, wide=wide)}" for wide in (False, True)}
    for table in tables:
        for pair in wanted:
            start = table.find(f" {pair} ")
            if start >= 0:
                columns = table[table.rfind("\n", 0, start) + 1 :].partition("\n")[0].split()
                return int(columns[_UID]) if columns[_INODE] != "0" else None
    return None


def _hex(host: str, port: int, order: ByteOrder, *, wide: bool) -> str:
    """The address as in the table. `wide`: as in tcp6, where an IPv4 address has the prefix ::ffff."""
    packed = _packed(host)
    if wide and len(packed) == 4:
        packed = IPv6Address(f"::ffff:{host}").packed
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, order):08X}" for word in words) + f":{port:04X}"


def _packed(host: str) -> bytes:
    return IPv6Address(host.partition("%")[0]).packed if ":" in host else IPv4Address(host).packed


READ_SECONDS = 5.0
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


async def is_app_code(transport: asyncio.Transport | None, app_user: int) -> bool:
    """True if the peer of `transport` is, or may be, a local process of the user `app_user`."""
    peer = None if transport is None else transport.get_extra_info("peername")
    here = None if transport is None else transport.get_extra_info("sockname")
    if peer is None or here is None:
        return True
    try:
        async with asyncio.timeout(READ_SECONDS):  # in a thread: a table may have thousands of lines
            uid = await asyncio.to_thread(_uid, peer[:2], here[:2])
    except TimeoutError:
        return True
    return uid in {app_user, None}


def _uid(peer: Address, here: Address) -> int | None:
    """The peer's uid; None if unknown, -1 for a peer on another machine."""
    if not _is_local(peer[0]):
        return -1
    try:
        return socket_owner((table.read_text("ascii") for table in TABLES), peer=peer, here=here, order=sys.byteorder)
    except (OSError, ValueError):
        return None


def _is_local(host: str) -> bool:
    """True if the address belongs to this machine: only then the kernel lets a socket be bound to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((host, 0))
    except OSError:
        return False
    return True
