"""Whose a connection's other end is, out of the kernel's own table of connections. Pure.

/proc/net/tcp and tcp6 have one line a socket: number, local and remote address, state, …, uid, …, inode. The client's
socket on this machine is the line whose local address is our connection's peer. Addresses are 32-bit words in the
machine's byte order, as hexadecimal; a client may also have reached an IPv4 port through an IPv6 socket. A socket that
its program has closed keeps its line for a while, with uid and inode 0, which would look like root's.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

Address = tuple[str, int]
"""An IP address as text, and a port."""
ByteOrder = Literal["little", "big"]

_UID, _INODE = 7, 9


def owner(tables: Iterable[str], *, peer: Address, here: Address, order: ByteOrder) -> int | None:
    """The uid of the program at the other end; None where no table has it, or it has let go of the socket."""
    wanted = {f"{_hex(*peer, order, wide=wide)} {_hex(*here, order, wide=wide)}" for wide in (False, True)}
    for table in tables:
        for pair in wanted:
            start = table.find(f" {pair} ")
            if start >= 0:
                columns = table[table.rfind("\n", 0, start) + 1 :].partition("\n")[0].split()
                return int(columns[_UID]) if columns[_INODE] != "0" else None
    return None


def _hex(host: str, port: int, order: ByteOrder, *, wide: bool) -> str:
    """As the table has it. `wide`: in tcp6, where an IPv4 address stands with its prefix ::ffff."""
    packed = _packed(host)
    if wide and len(packed) == 4:
        packed = IPv6Address(f"::ffff:{host}").packed
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, order):08X}" for word in words) + f":{port:04X}"


def _packed(host: str) -> bytes:
    return IPv6Address(host.partition("%")[0]).packed if ":" in host else IPv4Address(host).packed
