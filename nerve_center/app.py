"""The composition root, and what gunicorn loads.

`create_app(config)` builds the web application; it opens nothing, `extensions["nerve_center"].start()` does, in
the process that serves. `wsgi()` is gunicorn's entry: it runs once in the master (preload), reads the
configuration and brings the database up to date, so that what is wrong with either ends the start.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask

from nerve_center import api, config, web
from nerve_center.api import (
    agents,
    audit,
    delivery,
    events,
    health,
    metrics,
    openapi,
    policies,
    problems,
    series,
    silences,
    threats,
    tolerances,
)
from nerve_center.api.direct import Direct
from nerve_center.center import Center
from nerve_center.clock import Clock, SystemClock
from nerve_center.config import Config
from nerve_center.contract import Contract
from nerve_center.dashboard import views
from nerve_center.errors import ConfigError, StartError
from nerve_center.proxied import Proxied
from nerve_center.store import migrate

READERS = frozenset(
    {
        "dashboard",
        "agents",
        "series",
        "threats",
        "silences",
        "tolerances",
        "policies",
        "events",
        "audit",
        "metrics",
    }
)
NO_READERS = frozenset({"dashboard.static", "dashboard.chart_js", "policies.get_agent_policy"})
"""What costs next to nothing, and what agents ask for themselves."""
CONFIG_VARIABLE = "DIO_NERVE_CENTER_CONFIG"
_log = logging.getLogger(__name__)


class Synchronous(Flask):
    """An application none of whose functions is a coroutine: Flask asks each one anew in each request."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(settings: Config, clock: Clock | None = None, contract: Contract | None = None) -> Flask:
    """The web application over a database that is up to date. A contract that is given is not read again."""
    app = Synchronous(api.__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.extensions[web.EXTENSION] = Center(settings, contract or Contract(), clock or SystemClock())
    web.secure(app)
    web.take_turns(app, READERS, NO_READERS)
    problems.register(app, views.problem_page)
    for module in (
        health,
        openapi,
        delivery,
        agents,
        series,
        threats,
        silences,
        tolerances,
        policies,
        events,
        metrics,
        audit,
        views,
    ):
        app.register_blueprint(module.blueprint)
    direct = Direct(app.wsgi_app, app.extensions[web.EXTENSION])
    app.wsgi_app = Proxied(direct, settings.server.trusted_proxies, settings.tls.on)  # type: ignore[method-assign]  # Flask's way
    return app


def wsgi() -> Flask:
    """The application as the configuration wants it. Ends the process where it cannot be had."""
    try:
        settings = load_config()
        migrate.prepare(settings.database.place, SystemClock())
        return create_app(settings)
    except (ConfigError, StartError) as exc:
        for line in str(exc).splitlines():
            _log.critical("%s", line)
        sys.exit(78 if isinstance(exc, ConfigError) else 1)


def renewed(app: Flask) -> Flask:
    """The application with the configuration as it is now, or `app` itself where that one cannot be had."""
    before: Center = app.extensions[web.EXTENSION]
    try:
        settings = load_config()
        if settings.database != before.config.database:
            migrate.prepare(settings.database.place, SystemClock())
        return create_app(settings)
    except (ConfigError, StartError) as exc:
        for line in (*str(exc).splitlines(), "the configuration is kept as it was"):
            _log.error("%s", line)
        return app


def load_config() -> Config:
    """The configuration that the supervisor named. Raises ConfigError."""
    named = os.environ.get(CONFIG_VARIABLE)
    return config.load(Path(named) if named else None)
