"""How much memory the bodies of requests may take in one process, all together."""

from __future__ import annotations

import threading
from types import TracebackType

from nerve_center.errors import DatabaseUnavailable


class Budget:
    """A number of bytes that requests share."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._lock = threading.Lock()

    def share(self) -> Share:
        """A part of it that one request fills; give it back by leaving its `with` block."""
        return Share(self)

    def take(self, size: int) -> None:
        """Raises DatabaseUnavailable (kind `busy`) where nothing is left."""
        with self._lock:
            if self._used + size > self._total:
                raise DatabaseUnavailable("busy", "too many large requests at once", retry_after_s=2)
            self._used += size

    def give_back(self, size: int) -> None:
        with self._lock:
            self._used -= size


class Share:
    """What one request has taken."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give_back(self._size)

    def take(self, size: int) -> None:
        self._budget.take(size)
        self._size += size
