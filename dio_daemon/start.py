"""The `dio-agent` command: leaves out what would only take memory, and runs the agent.

While the agent is imported, stand-ins are in the place of modules of others that it never or seldom needs:

- requests imports chardet and charset_normalizer, which guess the character set of a page that does not say it: 3 MiB
  that the agent, which takes bytes, never asks. Their stand-ins have nothing in them but a version.
- requests, http.server and dataclasses import modules for what seldom happens, such as a host name in other letters
  than ASCII: 1.8 MiB. Their stand-ins load the real one when it is asked for anything.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_GUESSERS = {"chardet": "5.1.0", "charset_normalizer": "2.1.0"}
"""What requests looks for, and a version that each requests of Debian takes."""
_SELDOM = ("html", "idna", "inspect", "locale", "mimetypes", "zipfile")


class _Later(ModuleType):
    """A module that is loaded when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def main() -> int:
    """Run the agent; its exit code."""
    return load()()


def load() -> Callable[[], int]:
    """Import the agent, without what is left out unless that is there already; what runs it."""
    stand_ins: dict[str, ModuleType] = {name: _Later(name) for name in _SELDOM}
    for name, version in _GUESSERS.items():
        stand_ins[name] = ModuleType(name)
        stand_ins[name].__dict__["__version__"] = version
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        importlib.import_module("requests")
        run: Callable[[], int] = importlib.import_module("dio_daemon.app").main
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
    return run


if __name__ == "__main__":
    sys.exit(main())
