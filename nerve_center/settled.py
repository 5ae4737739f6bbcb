"""gunicorn's settings as they stay for a worker's life: looked up as plain attributes.

gunicorn asks its settings twenty times for a request, each time by a search through all of them: a fifth of what it
takes to parse one. A worker's never change: those of a reload are for the workers that are started then.
"""

from __future__ import annotations

from typing import Any

_ASKED_OFTEN = ("is_ssl", "sendfile")
"""Of what gunicorn makes of its settings anew for each request."""


class Settled:
    """In place of a `gunicorn.config.Config` that is complete."""

    def __init__(self, config: Any) -> None:
        made = {name: getattr(config, name) for name in _ASKED_OFTEN}
        # What the class makes of a setting counts, not what the setting holds.
        held = {name: each.get() for name, each in config.settings.items() if not hasattr(type(config), name)}
        self.__dict__.update(held, **made)
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)
