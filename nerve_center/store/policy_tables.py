"""The tables of what agents are told: how to watch, and what is normal.

    policies    how the hosts with a label (without one: all hosts) are watched: interval and rules
    tolerances  findings that people marked as normal: on one host, on a label, on the fleet

Times are microseconds since 1970, of the time of day.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from nerve_center.store.people_tables import (
    metadata as metadata,  # noqa: PLC0414 for those who want all tables
)

policies = Table(
    "policies",
    metadata,
    Column("label_name", String(256), primary_key=True),
    Column("label_value", String(256), primary_key=True),
    Column("interval_s", Float),
    Column("rules", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("updated_by", String(128), nullable=False),
)

tolerances = Table(
    "tolerances",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("agent_key", ForeignKey("agents.key")),
    Column("label_name", String(256)),
    Column("label_value", String(256)),
    Column("type", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("fingerprint", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("until_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("ended_by", String(128)),
    Index("ix_tolerances_ended", "ended_us"),
)
