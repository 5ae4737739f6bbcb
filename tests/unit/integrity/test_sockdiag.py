"""Listening sockets by netlink: what /proc/net has, for a fraction of the time."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

from dio_daemon.detect.integrity.net import LISTEN, connections
from dio_daemon.detect.integrity.sockdiag import listening, tcp_listeners


def test_the_kernel_lists_what_its_file_has() -> None:
    with ExitStack() as stack:
        ours = {}
        for family, address in (
            (socket.AF_INET, "127.0.0.1"),
            (socket.AF_INET6, "::1"),
            (socket.AF_INET6, "::"),
        ):
            listener = stack.enter_context(socket.socket(family))
            listener.bind((address, 0))
            listener.listen()
            ours[listener.getsockname()[1]] = address
            client = stack.enter_context(socket.socket(family))  # one that is connected does not listen
            client.connect((address, listener.getsockname()[1]))
        found = {each.port: each for each in tcp_listeners() if each.port in ours}
        from_file = {
            each.port: each
            for each in connections("/proc/self/net", only_listening=True)
            if each.port in ours
        }
    assert {port: each.address for port, each in found.items()} == ours
    assert found == from_file
    assert {each.state for each in found.values()} == {LISTEN}


def test_udp_comes_from_the_files() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert ("udp", port) in {(each.protocol, each.port) for each in listening("/proc")}


def test_another_namespace_is_read_from_its_files(tmp_path: Path) -> None:
    """A host whose process 1 is elsewhere, or whose namespaces may not be seen."""
    (tmp_path / "1/net").mkdir(parents=True)
    row = "   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 x 100 0\n"
    (tmp_path / "1/net/tcp").write_text("  sl  local_address\n" + row)
    assert [(each.local, each.inode) for each in listening(str(tmp_path))] == [("127.0.0.1:80", 77)]
