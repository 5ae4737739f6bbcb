"""What the agent tells systemd: readiness, status, how long the step in hand may take, that it is alive.

The `sdnotify` package encodes Latin-1 and, unless told otherwise, hides its errors; so text is made ASCII here
and an error is logged once. Outside systemd every call does nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Protocol

import sdnotify

from dio_daemon.clock import Clock

log = logging.getLogger(__name__)


class ServiceManager(Protocol):
    """What the daemon may say to whoever supervises it."""

    watchdog_s: float | None
    """Seconds without a sign of life after which the daemon is killed; None when nobody watches."""

    def ready(self) -> None:
        """The host is under watch from now on."""

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""

    def extend_timeout(self, seconds: float) -> None:
        """The step in hand may take this long; counted from now."""

    def alive(self) -> None:
        """All threads are alive."""

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""

    def stopping(self) -> None:
        """The daemon is on its way out."""


class Systemd:
    """The notify socket of systemd, where there is one.

    Args:
        environ: the process's environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
        clock: for the time stamp that RELOADING carries.
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._complained = False
        self._notifier: sdnotify.SystemdNotifier | None = None
        self._status = ""
        self.watchdog_s = _watchdog_s(environ)
        if environ.get("NOTIFY_SOCKET"):
            try:
                self._notifier = sdnotify.SystemdNotifier(debug=True)
            except OSError as error:
                log.warning("Cannot reach systemd at NOTIFY_SOCKET, its Status will not change: %s", error)

    def ready(self) -> None:
        """READY=1."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """STATUS=, sent only when it differs from the last one."""
        line = text.encode("ascii", "replace").decode().replace("\n", " ")
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def extend_timeout(self, seconds: float) -> None:
        """EXTEND_TIMEOUT_USEC=."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """WATCHDOG=1."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """RELOADING=1 with MONOTONIC_USEC=, as systemd 253 and newer ask for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def stopping(self) -> None:
        """STOPPING=1."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket; nothing is said any more."""
        if self._notifier is not None:
            self._notifier.socket.close()
            self._notifier = None

    def _send(self, message: str) -> None:
        if self._notifier is None:
            return
        try:
            self._notifier.notify(message)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("Cannot tell systemd how this agent is: %s", error)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return None
    usec = environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isdigit() and int(usec) > 0 else None
