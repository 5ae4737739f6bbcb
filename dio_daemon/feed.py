"""What happens in the agent, as it happens, for whoever follows on the control socket.

Publishing never waits: each follower has a queue of its own, and one that is full loses its follower, who is told
so and may begin again. At most `MAX_FOLLOWERS` are served.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Final

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.wire import to_json

MAX_FOLLOWERS = 4
QUEUE_LENGTH = 200
KEEPALIVE_S = 15.0
"""An empty line in this time tells both sides that the other one is there."""

_END: Final = b""


class Follower:
    """One follower's queue."""

    def __init__(self) -> None:
        self.queue: queue.Queue[bytes] = queue.Queue(QUEUE_LENGTH)
        self.dropped = False


class Feed:
    """Passes events to followers. All methods may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._followers: list[Follower] = []
        self._closed = False

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        """Tell every follower; one that cannot keep up is dropped."""
        with self._lock:
            if not self._followers:
                return
            line = to_json({"time": rfc3339(self._clock.now()), "kind": kind, "data": data}) + b"\n"
            for follower in list(self._followers):
                try:
                    follower.queue.put_nowait(line)
                except queue.Full:
                    follower.dropped = True
                    self._followers.remove(follower)

    def follow(self) -> Iterator[bytes] | None:
        """Lines of JSON from now on, an empty one as a sign of life; None when there are followers enough."""
        follower = Follower()
        with self._lock:
            if self._closed or len(self._followers) >= MAX_FOLLOWERS:
                return None
            self._followers.append(follower)
        return self._lines(follower)

    def close(self) -> None:
        """End every follower's stream."""
        with self._lock:
            self._closed = True
            followers, self._followers = self._followers, []
        for follower in followers:
            try:
                follower.queue.put_nowait(_END)
            except queue.Full:
                follower.dropped = True

    def _lines(self, follower: Follower) -> Iterator[bytes]:
        try:
            yield b"\n"
            while True:
                try:
                    line = follower.queue.get(timeout=KEEPALIVE_S)
                except queue.Empty:
                    yield b"\n"
                    continue
                if line == _END:
                    return
                yield line
                if follower.dropped and follower.queue.empty():
                    yield to_json({"time": rfc3339(self._clock.now()), "kind": "dropped", "data": {}}) + b"\n"
                    return
        finally:
            with self._lock:
                if follower in self._followers:
                    self._followers.remove(follower)
