"""The `dio-agent` command: leaves out what would only take memory, and runs the agent.

requests imports chardet and charset_normalizer, which guess the character set of a page that does not say it: 3 MiB
that the agent, which takes bytes, never asks. While requests is imported, modules with nothing in them but a version
stand in their place.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_GUESSERS = {"chardet": "5.1.0", "charset_normalizer": "2.1.0"}
"""What requests looks for, and a version that each requests of Debian takes."""


def main() -> int:
    """Run the agent; its exit code."""
    import_requests()
    from dio_daemon.app import main as run  # it imports requests as well

    return run()


def import_requests() -> None:
    """Import requests without the modules that guess, unless they are there already."""
    stand_ins = {name: ModuleType(name) for name in _GUESSERS if name not in sys.modules}
    for name, module in stand_ins.items():
        module.__dict__["__version__"] = _GUESSERS[name]
    sys.modules.update(stand_ins)
    try:
        importlib.import_module("requests")
    finally:
        for name in stand_ins:
            del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main())
