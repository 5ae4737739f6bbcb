"""Those who are being served on the control socket: how many at a time, and how long each may stay.

Each has a place and a thread. One thread, the control thread, keeps the time of all of them: a thread for each
deadline would double what a crowd of callers costs.
"""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict

from dio_daemon.clock import Clock

MAX_CLIENTS = 8
ROOT_CLIENTS = 2
"""Places that only root gets, so that nobody can keep an operator out by holding all the others."""
CLIENT_S = 30.0
"""A whole exchange, the longest command (reload, up to 15 s) included."""


class Caller:
    """One of them."""

    def __init__(self, callers: Callers, client: socket.socket, place: threading.BoundedSemaphore) -> None:
        self.socket = client
        self._callers = callers
        self._place = place

    def untimed(self) -> None:
        """It may stay as long as it reads: a follower."""
        self._callers.forget(self)

    def leave(self) -> None:
        """Close its connection and give its place back."""
        self._callers.forget(self)
        shut(self.socket)
        self.socket.close()
        self._place.release()


class Callers:
    """The places, and the deadlines of those who hold them. May be used from any thread.

    Args:
        clock: for the deadlines.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        self._root_places = threading.BoundedSemaphore(ROOT_CLIENTS)
        self._lock = threading.Lock()
        self._deadlines: OrderedDict[Caller, float] = OrderedDict()
        """All get the same time, so the first that came is the first that has to go."""

    def admit(self, client: socket.socket, uid: int) -> Caller | None:
        """A place for this connection, from now on closed by `leave`; None where there is none.

        root finds one also where others hold all of theirs.
        """
        if self._places.acquire(blocking=False):
            place = self._places
        elif uid == 0 and self._root_places.acquire(blocking=False):
            place = self._root_places
        else:
            return None
        caller = Caller(self, client, place)
        with self._lock:
            self._deadlines[caller] = self._clock.monotonic() + CLIENT_S
        return caller

    def cut_late(self) -> float:
        """Shut the connections of those whose time is over; seconds until the next one's is, at most `CLIENT_S`."""
        now = self._clock.monotonic()
        with self._lock:
            while self._deadlines:
                caller, deadline = next(iter(self._deadlines.items()))
                if deadline > now:
                    return deadline - now
                del self._deadlines[caller]
                shut(caller.socket)  # its thread finds it so and leaves
        return CLIENT_S

    def forget(self, caller: Caller) -> None:
        """Keep no time for it any more."""
        with self._lock:
            self._deadlines.pop(caller, None)


def shut(client: socket.socket) -> None:
    """End a connection for both sides, whoever waits on it."""
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already
