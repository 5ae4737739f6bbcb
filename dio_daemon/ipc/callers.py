"""Those who are being served on the control socket: how many at a time, and how long each may stay.

Each has a place, a thread and a deadline.
"""

from __future__ import annotations

import socket
import threading

from dio_daemon.deadlines import Deadlines

MAX_CLIENTS = 8
ROOT_CLIENTS = 2
"""Places that only root gets, so that nobody can keep an operator out by holding all the others."""
CLIENT_S = 30.0
"""A whole exchange, the longest command (reload, up to 15 s) included."""


class Caller:
    """One of them."""

    def __init__(
        self, client: socket.socket, place: threading.BoundedSemaphore, deadlines: Deadlines
    ) -> None:
        self.socket = client
        self._place = place
        self._deadline = deadlines.set(CLIENT_S, lambda: shut(client))  # its thread finds it so and leaves

    def untimed(self) -> None:
        """It may stay as long as it reads: a follower."""
        self._deadline.cancel()

    def leave(self) -> None:
        """Close its connection and give its place back."""
        self._deadline.cancel()
        shut(self.socket)
        self.socket.close()
        self._place.release()


class Callers:
    """The places. May be used from any thread.

    Args:
        deadlines: for how long each may stay.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        self._root_places = threading.BoundedSemaphore(ROOT_CLIENTS)

    def admit(self, client: socket.socket, uid: int) -> Caller | None:
        """A place for this connection, from now on closed by `leave`; None where there is none.

        root finds one also where others hold all of theirs.
        """
        if self._places.acquire(blocking=False):
            return Caller(client, self._places, self._deadlines)
        if uid == 0 and self._root_places.acquire(blocking=False):
            return Caller(client, self._root_places, self._deadlines)
        return None


def shut(client: socket.socket) -> None:
    """End a connection for both sides, whoever waits on it."""
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already
