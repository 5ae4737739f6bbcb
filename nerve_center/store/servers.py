"""Several servers in one URL, of which one takes writes at a time: the primary and its copies.

libpq would try them in order, but goes to the next one only where the one before refuses. One that swallows packets
would use up all the time there is for connecting, and no other would ever be asked. So each gets a connect of its own,
the one that took writes last first.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


class Servers:
    """Makes the connections of one engine.

    Args:
        driver: psycopg2, or what behaves like it.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._best = 0

    def attach(self, engine: Engine) -> None:
        """Make this engine's connections from now on."""
        event.listen(engine, "do_connect", self._do_connect)

    def _do_connect(self, _dialect: Any, _record: Any, _positional: Any, arguments: dict[str, Any]) -> Any:
        each = in_turn(arguments)
        return None if len(each) < 2 else self.connect(each)

    def connect(self, each: list[dict[str, Any]]) -> Any:
        """A connection to the first that takes one; of errors all are told, in one OperationalError of the driver."""
        wrong: list[str] = []
        for number in range(len(each)):
            at = (self._best + number) % len(each)
            try:
                made = self._driver.connect(**each[at])
            except self._driver.OperationalError as exc:
                wrong.append(" ".join(str(exc).split()))
            else:
                self._best = at
                return made
        raise self._driver.OperationalError("; ".join(wrong))


def in_turn(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """The arguments of one connect to several servers, as those of one connect to each.

    `host` and `port` are lists with commas, as libpq takes them; one port is that of all.
    """
    hosts = str(arguments.get("host") or "").split(",")
    ports = str(arguments.get("port") or "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        return [arguments]
    rest = {name: value for name, value in arguments.items() if name not in ("host", "port")}
    return [
        {**rest, "host": host, **({"port": port} if port else {})}
        for host, port in zip(hosts, ports, strict=True)
    ]
