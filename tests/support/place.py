"""Where a double of a test stands: on loopback, or on the loopback of a host with a network of its own."""

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Place:
    """An address, in the network namespace that a path names; "" for this process's own."""

    address: str = "127.0.0.1"
    namespace: str = ""

    def listen(self, port: int, backlog: int = 128) -> socket.socket:
        """A listening TCP socket. Raises OSError."""
        return self._made(lambda: socket.create_server((self.address, port), backlog=backlog))

    def connect(self, port: int, timeout_s: float) -> socket.socket:
        """A TCP connection from there to a port there, on 127.0.0.1. Raises OSError."""
        return self._made(lambda: socket.create_connection(("127.0.0.1", port), timeout=timeout_s))

    def datagrams(self, port: int) -> socket.socket:
        """A UDP socket that receives. Raises OSError."""

        def bound() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((self.address, port))
            return made

        return self._made(bound)

    def _made(self, make: Callable[[], socket.socket]) -> socket.socket:
        """What `make` makes, by a thread that is there: a socket stays in the namespace where it was made."""
        if not self.namespace:
            return make()
        found: list[socket.socket] = []
        failed: list[OSError] = []

        def there() -> None:
            try:
                _enter(Path(self.namespace))
                found.append(make())
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]


def _enter(namespace: Path) -> None:
    """Put the calling thread, and no other, into a network namespace."""
    with namespace.open("rb") as opened:
        if ctypes.CDLL(None, use_errno=True).setns(opened.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
