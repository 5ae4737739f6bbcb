"""dio-nerve-center-keeper: the process beside the nerve center that does what is not a request.

READY is sent once the database is open and the lease is held, or another keeper holds it: then there is nothing to
wait for. The watchdog is fed while no task hangs. SIGTERM and SIGINT stop it, SIGHUP reads the configuration anew;
it ends non-zero, to be started again, where the database's file was deleted or replaced.

Signals are blocked and taken with sigtimedwait in the main thread, which renews the lease in between.

Exit codes: 0 stopped, 1 could not start or lost the database, 78 the configuration does not fit.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path

from nerve_center import command, config, logs, notify
from nerve_center.clock import SystemClock
from nerve_center.config import Config
from nerve_center.errors import ConfigError
from nerve_center.keeper.runner import Keeper
from nerve_center.keeper.tasks import tasks
from nerve_center.signals import take
from nerve_center.store import migrate
from nerve_center.store.place import Place, file_id, shown

_log = logging.getLogger("nerve_center.keeper")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""

    def work(file: Path | None, settings: Config) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # before the first thread, which inherits it
        return Process(file, settings, notify.from_environment()).run()

    description = "Run the keeper of the DIO nerve center in the foreground."
    return command.run(argv, "dio-nerve-center-keeper", description, work)


class Process:
    """The keeper under systemd, or without."""

    def __init__(self, file: Path | None, settings: Config, manager: notify.ServiceManager) -> None:
        self._file = file
        self._settings = settings
        self._manager = manager
        self._clock = SystemClock()
        self._holder = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
        watchdog_s = notify.watchdog_interval_s()
        self._most_s = watchdog_s / 3 if watchdog_s else 10.0
        self._ready = False

    def run(self) -> int:
        """Work until a signal. Raises StartError where the database cannot be used."""
        while True:
            self._manager.status(f"starting: opening {shown(self._settings.database.place)}")
            migrate.prepare(self._settings.database.place, self._clock)
            keeper = Keeper(self._settings, tasks(self._settings), self._clock, self._holder)
            keeper.start()
            try:
                code = self._watch(keeper)
            finally:
                self._manager.status("stopping")
                keeper.stop()
            if code is not None:
                return code

    def _watch(self, keeper: Keeper) -> int | None:
        """Tick until there is a reason to stop: an exit code, or None to begin again with new settings."""
        place = self._settings.database.place
        opened = file_id(place)
        while True:
            if _gone(place, opened):
                _log.error("the database %s was deleted or replaced while in use; ending", shown(place))
                return 1
            self._tell(keeper, keeper.tick())
            found = take(_SIGNALS, min(keeper.lease.every_s, self._most_s))
            if found == signal.SIGHUP:
                if self._reload():
                    return None
            elif found is not None:
                self._manager.stopping()
                return 0

    def _tell(self, keeper: Keeper, sentence: str) -> None:
        hung = keeper.hung()
        if hung:
            self._manager.status(f"hung: {', '.join(hung)}")
            return
        self._manager.status(sentence)
        if not self._ready and (keeper.lease.held or keeper.lease.other):
            self._ready = True
            self._manager.ready()
        if self._ready:
            self._manager.alive()

    def _reload(self) -> bool:
        """Take the configuration as it is now; a bad one is told and changes nothing."""
        self._manager.reloading()
        try:
            self._settings = config.load(self._file)
        except ConfigError as exc:
            for line in (*exc.errors, "the configuration is kept as it was"):
                _log.error("%s", line)
            return False
        finally:
            self._manager.ready()
        logs.set_up(self._settings.log.level)
        return True


def _gone(place: Place, opened: tuple[int, int] | None) -> bool:
    try:
        return file_id(place) != opened
    except PermissionError:  # nobody can say; the next write tells
        return False


if __name__ == "__main__":
    sys.exit(main())
