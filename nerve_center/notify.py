"""What systemd is told. Without `NOTIFY_SOCKET` nothing happens; texts are ASCII, as sdnotify needs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import sdnotify


class ServiceManager:
    """systemd, or nobody. One thread uses it."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._status: str | None = None

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`; the same one again is not sent."""
        clean = text.encode("ascii", "replace").decode().replace("\n", " ")
        if clean != self._status:
            self._status = clean
            self._send(f"STATUS={clean}")

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        self._send("WATCHDOG=1")


def from_environment() -> ServiceManager:
    """The one that this process was started by; the variable is taken out, so that no child answers for us."""
    notifier = sdnotify.SystemdNotifier()
    os.environ.pop("NOTIFY_SOCKET", None)
    return ServiceManager(notifier.notify)


def watchdog_interval_s() -> float | None:
    """How often systemd wants to hear from this process at the least, or None."""
    text = os.environ.pop("WATCHDOG_USEC", "")
    pid = os.environ.pop("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1_000_000
