"""The labels of agents, as rows: to find agents by them, and to know which there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.engine import Connection, Row

from nerve_center.store.tables import labels


def replace(connection: Connection, agent_key: int, wanted: Mapping[str, str]) -> None:
    """These are the labels of an agent now."""
    had = connection.execute(select(labels.c.name, labels.c.value).where(labels.c.agent_key == agent_key))
    if {row.name: row.value for row in had} == dict(wanted):
        return
    connection.execute(delete(labels).where(labels.c.agent_key == agent_key))
    if wanted:
        rows = [{"agent_key": agent_key, "name": name, "value": value} for name, value in wanted.items()]
        connection.execute(insert(labels), rows)


def known(connection: Connection, limit: int) -> list[Row[Any]]:
    """Up to `limit` labels (name, value, how many agents), by name."""
    return list(
        connection.execute(
            select(labels.c.name, labels.c.value, func.count().label("agents"))
            .group_by(labels.c.name, labels.c.value)
            .order_by(labels.c.name, labels.c.value)
            .limit(limit)
        )
    )


def names(connection: Connection, limit: int) -> list[str]:
    """Up to `limit` names that labels have, by name."""
    return list(
        connection.execute(select(labels.c.name).distinct().order_by(labels.c.name).limit(limit)).scalars()
    )
