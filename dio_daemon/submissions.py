"""Events and metrics that other programs on this host submit.

They are a class of their own: they travel with the samples, so threats go before them and they are dropped before
threats; they may fill a twentieth of the spool; each user has a rate; the user's uid is put in here, whatever the
program says.
"""

from __future__ import annotations

import re
import sys
import threading
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.errors import DioError
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.text import safe
from dio_daemon.wire import SAMPLES, to_json

RATE_PER_S = 1.0
BURST = 20.0
MAX_USERS = 1000
"""Users whose rate is remembered; beyond it the one that was quiet longest is forgotten."""
MAX_DATA_BYTES = 4096
MAX_METRICS = 64
MAX_DEPTH = 8
"""Of lists and objects in one another. A nerve center refuses a whole report for a record that is too deep."""
SHARE = 0.05

_TYPE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:.-]{0,127}")


class BadSubmission(DioError):
    """What was submitted does not fit; the text says what does."""


class TooMany(DioError):
    """This user submits too quickly, or submissions fill their share of the spool."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Submissions:
    """Takes events and metrics. May be used from any thread.

    Args:
        spool: where they go.
        clock: for the rates.
    """

    def __init__(self, spool: SafeSpool, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._lock = threading.Lock()
        self._users: dict[int, tuple[float, float]] = {}

    def event(self, uid: int, body: dict[str, Any]) -> int:
        """Submit `{"type", "message", "data"}`; its seq. Raises BadSubmission, TooMany."""
        kind, message, data = body.get("type"), body.get("message", ""), body.get("data", {})
        if (
            not isinstance(kind, str)
            or not _TYPE.fullmatch(kind)
            or kind.startswith(("threat", "maintenance"))
        ):
            raise BadSubmission(
                '"type" must be lower case letters, digits and ._- (at most 64), and no threat'
            )
        if not isinstance(message, str) or len(message) > 1024:
            raise BadSubmission('"message" must be a text of at most 1024 characters')
        if not isinstance(data, dict):
            raise BadSubmission('"data" must be an object')
        _check(data, MAX_DEPTH)
        return self._append(uid, "custom_event", {"type": kind, "message": safe(message, 1024), "data": data})

    def metrics(self, uid: int, body: dict[str, Any]) -> int:
        """Submit `{"metrics": {name: number}}`; its seq. Raises BadSubmission, TooMany."""
        metrics = body.get("metrics")
        if not isinstance(metrics, dict) or not 1 <= len(metrics) <= MAX_METRICS:
            raise BadSubmission(f'"metrics" must be an object of 1 to {MAX_METRICS} numbers')
        for name, value in metrics.items():
            if not _METRIC.fullmatch(name):
                raise BadSubmission(f"{safe(name, 80)!r} is no name of a metric: letters, digits and _:.-")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
                raise BadSubmission(f"metric {name} must be a finite number")
        return self._append(uid, "custom_metrics", {"metrics": metrics})

    def _append(self, uid: int, kind: str, fields: dict[str, Any]) -> int:
        data = to_json({"uid": uid, **fields})
        if len(data) > MAX_DATA_BYTES:
            raise BadSubmission(f"at most {MAX_DATA_BYTES} bytes as JSON")
        self._take(uid)
        if not self._spool.has_room_for_custom(SHARE):
            raise TooMany("submissions that wait for delivery fill their share of the spool", 60)
        return self._spool.append(SAMPLES, kind, data)

    def _take(self, uid: int) -> None:
        """One from the user's bucket."""
        with self._lock:
            now = self._clock.monotonic()
            tokens, at = self._users.pop(uid, (BURST, now))
            tokens = min(BURST, tokens + (now - at) * RATE_PER_S)
            while len(self._users) >= MAX_USERS:
                self._users.pop(next(iter(self._users)))
            if tokens < 1.0:
                self._users[uid] = (tokens, now)
                raise TooMany(f"uid {uid} submits too quickly: {RATE_PER_S:g} a second, {BURST:g} at once", 1)
            self._users[uid] = (tokens - 1.0, now)


def _check(value: Any, depth: int) -> None:
    """Raises BadSubmission for what a nerve center would not store: it would hold up everything behind it."""
    if isinstance(value, str):
        if "\0" in value or not _encodes(value):
            raise BadSubmission("texts must hold neither NUL nor half a surrogate pair")
    elif isinstance(value, (int, float)):
        if not _finite(value):
            raise BadSubmission("numbers must be finite")
    elif isinstance(value, (dict, list)):
        if depth == 0:
            raise BadSubmission(f'"data" may be nested {MAX_DEPTH} deep')
        for item in value:
            _check(item, depth - 1)
        if isinstance(value, dict):
            for item in value.values():
                _check(item, depth - 1)


def _finite(value: float) -> bool:
    return abs(value) <= sys.float_info.max


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
