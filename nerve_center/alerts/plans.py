"""The plan as it is now: the file is read again when it has changed, and one that does not fit changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

from nerve_center.alerts import routes
from nerve_center.alerts.routes import Plan
from nerve_center.errors import ConfigError

_log = logging.getLogger(__name__)


class Plans:
    """Of one file. One thread uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, ...] | None = None
        self._plan = Plan()

    def current(self) -> Plan:
        """The plan in force. What is wrong with a new one is logged, once."""
        try:
            status = self._path.stat()
            version: tuple[int, ...] = (
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino,
                status.st_size,
            )
        except OSError:
            version = ()
        if version != self._version:
            self._version = version
            try:
                self._plan = routes.load(self._path)
            except ConfigError as exc:
                for line in (*exc.errors, "notifications go on as they were configured before"):
                    _log.error("%s", line)
        return self._plan
