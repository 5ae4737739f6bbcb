"""dio-nerve-center: the service's main process.

It starts gunicorn as its child and asks `/health` over the real socket, again and again. Only when that answers
`healthy` is READY=1 sent; the same question feeds the watchdog, as long as a nerve center answers at all, and
writes the status line. SIGTERM and SIGINT stop gunicorn gracefully, SIGHUP makes it start workers anew with the
configuration as it is then. When gunicorn ends by itself, this process ends at once and non-zero. So it does when
the database's file was deleted or replaced: workers would go on writing into a file that nobody finds again.

Signals are blocked and taken with sigtimedwait, so there are no handlers and one thread is enough.

Exit codes: 0 stopped, 1 could not start or lost gunicorn, 78 the configuration does not fit.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from nerve_center import command, config, healthcheck, notify, tls
from nerve_center.command import EX_CONFIG
from nerve_center.config import Config
from nerve_center.errors import ConfigError, StartError
from nerve_center.signals import take
from nerve_center.store.place import file_id, shown

_log = logging.getLogger("nerve_center.serve")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_FIRST_EVERY_S = 0.1
_EVERY_S = 5.0
_ANSWER_S = 5.0
_STOP_S = 12.0
_RELOAD_S = 15.0


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""

    def work(file: Path | None, settings: Config) -> int:
        return Supervisor(file, settings, notify.from_environment()).run()

    description = "Run the DIO nerve center in the foreground."
    return command.run(
        argv, "dio-nerve-center", description, work, lambda settings: tls.context(settings.tls)
    )


class Supervisor:
    """One gunicorn and what is said about it."""

    def __init__(self, file: Path | None, settings: Config, manager: notify.ServiceManager) -> None:
        self._file = file
        self._settings = settings
        self._manager = manager
        self._ready = False
        self._database: tuple[int, int] | None = None
        watchdog_s = notify.watchdog_interval_s()
        self._every_s = min(_EVERY_S, watchdog_s / 3) if watchdog_s else _EVERY_S
        self._answer_s = min(_ANSWER_S, self._every_s)

    def run(self) -> int:
        """Serve until a signal or gunicorn's end. Raises StartError where it cannot begin."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._manager.status(f"starting: opening {shown(self._settings.database.place)}")
        check_port(self._settings.server.host, self._settings.server.port)
        child = self._start_gunicorn()
        try:
            return self._watch(child)
        finally:
            _kill_group(child)

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        next_probe = time.monotonic()
        while True:
            wait_s = max(0.0, next_probe - time.monotonic())
            found = take(_SIGNALS, wait_s)
            if child.poll() is not None:
                return self._lost(child)
            if found is None and self._database_gone():
                _log.error(
                    "the database %s was deleted or replaced while in use; ending, to start with what is there now",
                    shown(self._settings.database.place),
                )
                self._stop(child)
                return 1
            if found is None:
                next_probe = time.monotonic() + self._probe()
            elif found == signal.SIGHUP:
                self._reload(child)
                next_probe = time.monotonic()
            elif found in (signal.SIGTERM, signal.SIGINT):
                return self._stop(child)

    def _probe(self) -> float:
        """Ask once and tell systemd; returns the seconds until the next time."""
        server = self._settings.server
        context = tls.probe_context() if self._settings.tls.on else None
        answer = healthcheck.ask(server.host, server.port, self._answer_s, context)
        if answer.alive and self._ready:
            self._manager.alive()
        if answer.healthy:
            self._manager.status(
                f"healthy: {answer.agents} agent{'' if answer.agents == 1 else 's'}, "
                f"listening on {_address(server.host, server.port)}"
            )
            self._database = self._database or file_id(self._settings.database.place)
            if not self._ready:
                self._ready = True
                self._manager.ready()
                _log.info("ready: listening on %s", _address(server.host, server.port))
        elif answer.alive:
            self._manager.status(f"unhealthy: {answer.reason}")
        elif self._ready:
            self._manager.status(f"unhealthy: {_address(server.host, server.port)}: {answer.reason}")
        return self._every_s if self._ready else _FIRST_EVERY_S

    def _database_gone(self) -> bool:
        """Whether the file under the database's path is not the one that was there when it was healthy."""
        if self._database is None:
            return False
        try:
            return file_id(self._settings.database.place) != self._database
        except PermissionError:  # nobody can say; the probe tells whether it can be written
            return False

    def _start_gunicorn(self) -> subprocess.Popen[bytes]:
        environment = dict(os.environ, DIO_SUPERVISOR_PID=str(os.getpid()))
        environment.pop("GUNICORN_CMD_ARGS", None)
        if self._file is not None:
            environment["DIO_NERVE_CENTER_CONFIG"] = str(self._file.absolute())
        conf = Path(__file__).with_name("gunicorn_conf.py")
        return subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", str(conf)],
            env=environment,
            start_new_session=True,
        )

    def _lost(self, child: subprocess.Popen[bytes]) -> int:
        code = child.returncode
        what = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._manager.status(f"failed: gunicorn {what}")
        if self._ready or code < 0:
            _log.error("gunicorn %s", what)
        return code if code in (1, EX_CONFIG) else 1

    def _stop(self, child: subprocess.Popen[bytes]) -> int:
        self._manager.stopping()
        self._manager.status("stopping")
        child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            _log.warning("gunicorn did not stop within %.0f s and is killed", _STOP_S)
            return 0
        return 0 if code in (0, -signal.SIGTERM) else 1

    def _reload(self, child: subprocess.Popen[bytes]) -> None:
        """New workers with the configuration as it is now; a bad one is told and changes nothing."""
        if not self._ready:
            _log.info("not ready yet, nothing to reload")
            return
        self._manager.reloading()
        try:
            settings = config.load(self._file)
            tls.context(settings.tls)
            before, after = self._settings.server, settings.server
            if (before.host, before.port) != (after.host, after.port):
                check_port(after.host, after.port)
            self._settings, self._database = settings, None
            child.send_signal(signal.SIGHUP)
            self._manager.status("reloading")
        except (ConfigError, StartError) as exc:
            for line in (*str(exc).splitlines(), "the configuration is kept as it was"):
                _log.error("%s", line)
        finally:
            self._manager.ready()


def check_port(host: str, port: int) -> None:
    """Raise StartError, one line for a person, where gunicorn could not listen."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as exc:
        why = {
            errno.EADDRINUSE: "another program listens there; stop it or set another [server] port",
            errno.EADDRNOTAVAIL: "this machine has no such address; set [server] host to one that it has",
            errno.EACCES: "not allowed; a port below 1024 needs root, set a higher [server] port",
        }.get(exc.errno or 0, f"{exc.strerror}; check [server] host and port")
        raise StartError(f"cannot listen on {_address(host, port)}: {why}") from exc


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing of gunicorn behind: workers outlive a master that was killed by a second or more."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.wait()


if __name__ == "__main__":
    sys.exit(main())
