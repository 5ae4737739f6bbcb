"""gunicorn's settings. The patch comes first: with `preload_app`, anywhere else is too late."""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below must see the patched modules

import ctypes
import os
import resource
import signal
import sys
from typing import Any

from gunicorn import glogging
from gunicorn.errors import HaltServer

from nerve_center import app as entry
from nerve_center import logs
from nerve_center.errors import ConfigError

_PR_SET_PDEATHSIG = 1
_SPARE_FILES = 200


class Log(glogging.Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own log in the same clothes as ours."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter())

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """There is no log of accesses."""


def _settings() -> Any:
    try:
        return entry.load_config()
    except ConfigError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 nothing is set up yet
        sys.exit(78)


def _files_allowed(wanted: int) -> int:
    """Raise the limit of open files as far as it goes; how many connections of `wanted` fit under it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _SPARE_FILES
    if soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        except (OSError, ValueError):  # a sandbox that forbids the call; the limit stays
            raised = soft
        soft = raised
    return max(10, min(wanted, soft - _SPARE_FILES))


signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the supervisor blocks those that it waits for
logs.end_quietly()
_config = _settings()
logs.set_up(_config.log.level)

wsgi_app = "nerve_center.app:wsgi()"
bind = [
    f"[{_config.server.host}]:{_config.server.port}"
    if ":" in _config.server.host
    else f"{_config.server.host}:{_config.server.port}"
]
workers = _config.server.workers
worker_class = "nerve_center.worker.BoundedWorker"
# Each worker touches a file once a second, which would wake whoever watches /tmp for what is left there.
worker_tmp_dir = os.environ.get("RUNTIME_DIRECTORY")
worker_connections = _files_allowed(_config.server.worker_connections)
preload_app = True
backlog = 2048
keepalive = 75
timeout = 30
graceful_timeout = 8
secure_scheme_headers: dict[str, str] = {}  # `proxied` reads what a proxy says, and from whom
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 4096
logger_class = Log
loglevel = _config.log.level
accesslog = None
errorlog = "-"
proc_name = "dio-nerve-center"


def on_starting(server: Any) -> None:
    """End with the supervisor, even when that is killed outright; lose no SIGTERM around a fork.

    A worker begins with SIGTERM blocked and takes it once it has handlers of its own (`BoundedWorker`): before,
    it would end in the copy of the master's queue, and the stop would last until the worker is killed.
    """
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,)),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,)),
    )
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    supervisor = os.environ.get("DIO_SUPERVISOR_PID")
    if supervisor is not None and supervisor != str(os.getppid()):
        sys.exit(1)


def when_ready(server: Any) -> None:
    """End when a worker cannot boot.

    gunicorn raises HaltServer for that in its handler of SIGCHLD; gevent runs the handler in a greenlet of its own,
    where the exception would only be printed, and the master would start worker after worker for ever.
    """

    def child_ended(number: int, frame: Any) -> None:
        try:
            server.handle_chld(number, frame)
        except HaltServer as halt:
            server.log.error("a worker cannot start (%s); ending", halt.reason)
            server.stop(False)
            os._exit(halt.exit_status)

    signal.signal(signal.SIGCHLD, child_ended)


def on_reload(server: Any) -> None:
    """Workers that are started from now on get the configuration as it is now."""
    server.app.callable = entry.renewed(server.app.callable)
