"""The `dio-agent` command: leaves out what would only take memory, and runs the agent.

While the agent is imported, stand-ins are in the place of modules of others that it never or seldom needs:

- requests imports chardet and charset_normalizer, which guess the character set of a page that does not say it: 3 MiB
  that the agent, which takes bytes, never asks. Their stand-ins have nothing in them but a version.
- requests, http.server and others import modules for what seldom happens, such as a host name in other letters than
  ASCII or a message of several parts: 3 MiB. Their stand-ins load the real one when it is asked for anything; of some,
  functions are taken by name when their users are imported, and those load the real one when they are called.

What a traceback is made with is not among them: it has to be there when no descriptor is free to load anything.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

_GUESSERS = {"chardet": "5.1.0", "charset_normalizer": "2.1.0"}
"""What requests looks for, and a version that each requests of Debian takes."""
_SELDOM: dict[str, tuple[str, ...]] = {
    "calendar": ("timegm",),
    "email._encoded_words": ("decode_b",),
    "email.base64mime": (),
    "email.encoders": ("encode_7or8bit",),
    "email.header": (),
    "email.quoprimime": (),
    "html": (),
    "idna": (),
    "inspect": (),
    "locale": (),
    "mimetypes": (),
    "ntpath": (),
    "quopri": (),
    "shutil": ("get_terminal_size", "which"),
    "stringprep": (),
    "tempfile": (),
    "textwrap": (),
    "urllib.request": (
        "getproxies",
        "getproxies_environment",
        "parse_http_list",
        "proxy_bypass",
        "proxy_bypass_environment",
    ),
    "zipfile": (),
}
"""What is asked for seldom, and the functions that others take from it by name."""


class _Later(ModuleType):
    """A module that is loaded when something of it is asked for, or one of the functions is called."""

    def __init__(self, name: str, functions: tuple[str, ...]) -> None:
        super().__init__(name)
        self._taken = functions
        for function in functions:
            self.__dict__[function] = partial(self._call, function)

    def _call(self, function: str, *arguments: Any, **named: Any) -> Any:
        return self.__getattr__(function)(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name == "__path__" and self._taken:  # asked for before a function is taken
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def main() -> int:
    """Run the agent; its exit code."""
    return load()()


def load() -> Callable[[], int]:
    """Import the agent, without what is left out unless that is there already; what runs it."""
    stand_ins: dict[str, ModuleType] = {name: _Later(name, functions) for name, functions in _SELDOM.items()}
    for name, version in _GUESSERS.items():
        stand_ins[name] = ModuleType(name)
        stand_ins[name].__dict__["__version__"] = version
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    for name, module in stand_ins.items():
        package, _, part = name.rpartition(".")
        if package:
            setattr(importlib.import_module(package), part, module)  # as the import of a part does
        sys.modules[name] = module
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
