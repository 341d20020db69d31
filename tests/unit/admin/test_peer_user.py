from __future__ import annotations

import os
import socket
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.admin.peer_user import Address, socket_owner

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LITTLE = "   7: 0100007F:C350 0100007F:2382 01 00000000:00000000 00:00000000 00000000  1000        0 26834 1 0\n"
CLOSED = (
    "   8: 0100007F:C351 0100007F:2382 04 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1\n"
)
MAPPED = (
    "   1: 0000000000000000FFFF00000100007F:C352 0000000000000000FFFF00000100007F:2382 01 "
    "00000000:00000000 00:00000000 00000000  1001        0 26835 1 0 20 4 30 10 -1\n"
)
HERE = ("127.0.0.1", 9090)


@pytest.mark.parametrize(("port", "uid"), [(50000, 1000), (50001, None), (50002, 1001), (50003, None)])
def test_the_user_is_that_of_the_sockets_line_and_of_nobody_where_it_is_closed_or_absent(
    port: int, uid: int | None
) -> None:
    tables = (HEAD + LITTLE + CLOSED, HEAD + MAPPED)
    assert socket_owner(tables, peer=("127.0.0.1", port), here=HERE, order="little") == uid


def test_the_servers_own_line_is_not_taken_for_the_clients() -> None:
    assert socket_owner((HEAD + LITTLE,), peer=HERE, here=("127.0.0.1", 50000), order="little") is None


def test_words_are_in_the_machines_byte_order() -> None:
    big = LITTLE.replace("0100007F", "7F000001")
    assert socket_owner((big,), peer=("127.0.0.1", 50000), here=HERE, order="big") == 1000
    assert socket_owner((big,), peer=("127.0.0.1", 50000), here=HERE, order="little") is None


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
ENDS = st.tuples(ADDRESSES, st.integers(1, 65535))


def line(local: tuple[IPv4Address | IPv6Address, int], remote: tuple[IPv4Address | IPv6Address, int], uid: int) -> str:
    """A line written from the kernel's description: each word of the address as the machine holds it in memory."""

    def end(address: IPv4Address | IPv6Address, port: int) -> str:
        packed = address.packed
        return "".join(packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4)) + f":{port:04X}"

    return f"   1: {end(*local)} {end(*remote)} 01 00000000:00000000 00:00000000 00000000 {uid:5d}        0 99 1 0\n"


@given(st.lists(st.tuples(ENDS, ENDS, st.integers(0, 2**31)), min_size=1, max_size=8), st.data())
def test_each_line_is_found_by_its_two_ends_and_no_other(
    rows: list[tuple[tuple[IPv4Address, int], tuple[IPv4Address, int], int]], data: st.DataObject
) -> None:
    local, remote, uid = data.draw(st.sampled_from(rows))
    assume(sum(row[:2] == (local, remote) for row in rows) == 1)
    table = HEAD + "".join(line(*row) for row in rows)
    peer, here = (str(local[0]), local[1]), (str(remote[0]), remote[1])
    assert socket_owner((table,), peer=peer, here=here, order="little") == uid


@pytest.mark.parametrize(
    ("family", "listens", "calls"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_a_real_connection_is_found_in_the_real_tables(family: socket.AddressFamily, listens: str, calls: str) -> None:
    with (
        socket.socket(socket.AF_INET6 if ":" in listens else socket.AF_INET) as server,
        socket.socket(family) as client,
    ):
        server.bind((listens, 0))
        server.listen()
        try:
            client.connect((calls, server.getsockname()[1]))
        except OSError as error:
            pytest.skip(f"this machine has no {calls}: {error}")
        accepted, peer = server.accept()
        with accepted:
            here: Address = accepted.getsockname()[:2]
            tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
            assert socket_owner(tables, peer=peer[:2], here=here, order=sys.byteorder) == os.geteuid()
