"""Ports on loopback that no other test has, in whatever process it runs."""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

_PORTS = range(10240, 32700)
"""Below those that the kernel gives to clients."""
_given: set[int] = set()


def free_port() -> int:
    """A port that may be let go and taken again: this process keeps it until it ends.

    That nobody listens on it now is not enough: a center takes its port a second after it was chosen, and tests in
    other processes choose some meanwhile.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        if port in _given:
            continue
        try:
            fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            with socket.create_server(("127.0.0.1", port)):
                _given.add(port)
                return port
        except OSError:
            continue
    raise AssertionError("no free port")


@cache
def _reservations() -> int:
    """A file of which each process locks the byte of each port that it has; never closed, which would end all locks."""
    path = Path(tempfile.gettempdir()) / f"dio-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
