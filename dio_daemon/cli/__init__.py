"""What `dioctl` prints and does; one module a group of commands, imported when it is asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dio_daemon.ipc.client import Client

    Command = Callable[[Client, Any], int]

DEFAULT_SOCKET = "/run/dio-agent/agent.sock"
DEFAULT_CONFIG = "/etc/dio-agent/agent.toml"


def lazily(module: str, name: str) -> Command:
    """A command that is imported when it runs."""

    def run(client: Client, options: Any) -> int:
        import importlib

        return int(getattr(importlib.import_module(f"dio_daemon.cli.{module}"), name)(client, options))

    return run
