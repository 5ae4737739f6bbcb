"""What happens in the agent, as it happens, for whoever follows on the control socket.

Publishing never waits: each follower has a queue of its own, and one that is full loses its follower, who is told
so after what it still got, and may begin again. At most `MAX_FOLLOWERS` are served.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, Final

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.wire import to_json

MAX_FOLLOWERS = 4
QUEUE_LENGTH = 200
KEEPALIVE_S = 15.0
"""An empty line in this time tells both sides that the other one is there."""

_END: Final = b""


class Follower:
    """One follower: a queue that the feed fills and one thread empties."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._queue: queue.Queue[bytes] = queue.Queue(QUEUE_LENGTH)
        self._greeted = False
        self._last: bytes | None = None
        self._ended = False

    def next_line(self) -> bytes | None:
        """The next line of JSON, an empty one as a sign of life; None at the end."""
        if not self._greeted:
            self._greeted = True
            return b"\n"
        if self._ended:
            return None
        try:
            line = self._queue.get(timeout=KEEPALIVE_S)
        except queue.Empty:
            return b"\n"
        self._ended = line is self._last
        return line or None

    def close(self) -> None:
        """Stop following; may be called more than once."""
        self._feed.forget(self)

    def offer(self, line: bytes) -> bool:
        """For the feed: one more line; False when the queue is full."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            return False
        return True

    def cut(self, last: bytes) -> None:
        """For the feed: nothing comes any more; `last` takes the place of the oldest line where there is no room."""
        self._last = last
        while not self.offer(last):
            try:
                self._queue.get_nowait()
            except queue.Empty:
                continue  # the follower took it meanwhile


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
            line = self._line(kind, data)
            for follower in [each for each in self._followers if not each.offer(line)]:
                self._followers.remove(follower)
                follower.cut(self._line("dropped", {}))

    def follow(self) -> Follower | None:
        """Lines of JSON from now on; None when there are followers enough."""
        with self._lock:
            if self._closed or len(self._followers) >= MAX_FOLLOWERS:
                return None
            follower = Follower(self)
            self._followers.append(follower)
        return follower

    def forget(self, follower: Follower) -> None:
        """Tell a follower nothing any more."""
        with self._lock:
            if follower in self._followers:
                self._followers.remove(follower)

    def close(self) -> None:
        """End every follower's stream."""
        with self._lock:
            self._closed = True
            followers, self._followers = self._followers, []
        for follower in followers:
            follower.cut(_END)

    def _line(self, kind: str, data: dict[str, Any]) -> bytes:
        return to_json({"time": rfc3339(self._clock.now()), "kind": kind, "data": data}) + b"\n"
