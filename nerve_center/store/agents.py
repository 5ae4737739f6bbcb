"""Agents and the credentials that they report with.

An agent is a host under watch; an instance is one enrolled credential. `instances.superseded_us` says that
another instance has taken the agent over, `revoked_us` that an operator refused it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, case, func, insert, literal, null, or_, select, update
from sqlalchemy.engine import Connection, Row

from nerve_center import presence
from nerve_center.store import labels, latest
from nerve_center.store.prepared import Prepared, Values
from nerve_center.store.tables import agents, instances, meta, threats
from nerve_center.store.threats import ACTIVE

_MOST_OF_A_NAME = 100
_BEHIND_US = 60_000_000
"""Whose time is so far behind has not followed the other machines yet (`store.steady`); what these know stays."""


@dataclass(frozen=True)
class Instance:
    """An enrolled credential and the agent that it speaks for."""

    instance_id: str
    agent_key: int
    agent_id: str
    claimed_id: str
    credential_hash: bytes
    run_id: str
    interval_s: float
    enrolled_us: int
    last_seen_us: int
    last_report_us: int | None
    goodbye_us: int | None
    superseded: bool
    revoked: bool
    rolled_hour: int
    labels: str
    """As they are stored: JSON."""
    policy: str | None
    """What it last said of the policy: JSON."""

    def live(self, now_us: int) -> bool:
        """Whether it is in use: it was heard lately and did not say goodbye."""
        if self.revoked or self.goodbye_us is not None:
            return False
        return not presence.silent(self.last_seen_us, self.interval_s, now_us)


@dataclass(frozen=True)
class Facts:
    """What an agent says of itself when it registers."""

    hostname: str
    agent_version: str
    host: Mapping[str, Any]
    labels: Mapping[str, str]
    interval_s: float
    run_id: str
    boot_id: str | None

    def columns(self) -> dict[str, Any]:
        return {
            "hostname": self.hostname,
            "agent_version": self.agent_version,
            "host": _json(self.host),
            "labels": _json(self.labels),
            "interval_s": self.interval_s,
            "run_id": self.run_id,
            "boot_id": self.boot_id,
        }


_OF_AGENT = (agents.c.id, agents.c.interval_s, agents.c.rolled_hour, agents.c.labels, agents.c.policy)
OF_INSTANCE = (*instances.c, *_OF_AGENT)
"""The columns that an Instance is made of."""
_INSTANCE = select(*OF_INSTANCE).join(agents, agents.c.key == instances.c.agent_key)

_BY_CREDENTIAL = _INSTANCE.where(instances.c.credential_hash == bindparam("of_hash"))
_LOCKED = Prepared(
    _INSTANCE.where(instances.c.instance_id == bindparam("of_instance")).with_for_update(key_share=True)
)
_NAMES = tuple(column.name for column in OF_INSTANCE)


def instance_of(row: Sequence[Any]) -> Instance:
    """From the values of `OF_INSTANCE`."""
    of = dict(zip(_NAMES, row, strict=True))
    superseded_us, revoked_us = of.pop("superseded_us"), of.pop("revoked_us")
    return Instance(
        agent_id=of.pop("id"), superseded=superseded_us is not None, revoked=revoked_us is not None, **of
    )


def instance_by_credential(connection: Connection, credential_hash: bytes) -> Instance | None:
    row = connection.execute(_BY_CREDENTIAL, {"of_hash": credential_hash}).first()
    return None if row is None else instance_of(row)


def instance_locked(connection: Connection, instance_id: str) -> Instance | None:
    """An instance as it is inside this transaction; nobody else changes it or its agent until the end of that."""
    row = _LOCKED.first(connection, {"of_instance": instance_id})
    return None if row is None else instance_of(row)


def is_revoked(connection: Connection, key: int) -> bool:
    """Whether an operator refused this agent: no credential enrolls for it until it is allowed again."""
    found = connection.execute(
        select(literal(1)).where(instances.c.agent_key == key, instances.c.revoked_us.is_not(None)).limit(1)
    ).first()
    return found is not None


def set_revoked(connection: Connection, key: int, revoked_us: int | None) -> None:
    """Refuse all credentials of an agent from now on, or (None) allow them again."""
    connection.execute(update(instances).where(instances.c.agent_key == key).values(revoked_us=revoked_us))


def instance_exists(connection: Connection, instance_id: str) -> bool:
    found = connection.execute(select(literal(1)).where(instances.c.instance_id == instance_id)).first()
    return found is not None


def instances_of(connection: Connection, agent_key: int) -> list[Instance]:
    """All instances of an agent, the newest first."""
    rows = connection.execute(
        _INSTANCE.where(instances.c.agent_key == agent_key).order_by(instances.c.enrolled_us.desc())
    )
    return [instance_of(row) for row in rows]


def agent_key(connection: Connection, agent_id: str) -> int | None:
    key = connection.execute(select(agents.c.key).where(agents.c.id == agent_id)).scalar()
    return None if key is None else int(key)


def keys_of(connection: Connection, host: str) -> list[int]:
    """The agents of this id, or of this host name: several hosts may have one name."""
    asked = select(agents.c.key).where(or_(agents.c.id == host, agents.c.hostname == host))
    return list(connection.execute(asked.order_by(agents.c.key).limit(_MOST_OF_A_NAME)).scalars())


def add_agent(connection: Connection, agent_id: str, facts: Facts, now_us: int) -> int:
    """Add an agent that has not reported yet; returns its key."""
    result = connection.execute(
        insert(agents).values(
            id=agent_id,
            registered_us=now_us,
            last_registered_us=now_us,
            samples=0,
            events=0,
            gaps=0,
            **facts.columns(),
        )
    )
    key = int(result.inserted_primary_key[0])
    latest.add(connection, key)
    labels.replace(connection, key, facts.labels)
    return key


def update_agent(connection: Connection, key: int, facts: Facts, now_us: int) -> None:
    given = json.loads(
        connection.execute(select(agents.c.given_labels).where(agents.c.key == key)).scalar_one()
    )
    facts = replace(facts, labels={**given, **facts.labels})
    connection.execute(
        update(agents).where(agents.c.key == key).values(last_registered_us=now_us, **facts.columns())
    )
    labels.replace(connection, key, facts.labels)


def give_labels(connection: Connection, key: int, given: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Labels from the token that an agent enrolled with; what the agent says itself wins over them."""
    shown = {**given, **own}
    connection.execute(
        update(agents).where(agents.c.key == key).values(given_labels=_json(given), labels=_json(shown))
    )
    labels.replace(connection, key, shown)


def add_instance(
    connection: Connection,
    instance_id: str,
    key: int,
    claimed_id: str,
    credential_hash: bytes,
    run_id: str,
    now_us: int,
) -> None:
    connection.execute(
        insert(instances).values(
            instance_id=instance_id,
            agent_key=key,
            claimed_id=claimed_id,
            credential_hash=credential_hash,
            run_id=run_id,
            enrolled_us=now_us,
            last_seen_us=now_us,
        )
    )


def registered_again(connection: Connection, instance_id: str, key: int, run_id: str, now_us: int) -> None:
    """An instance registered: it is in use, for this agent."""
    connection.execute(
        update(instances)
        .where(instances.c.instance_id == instance_id)
        .values(agent_key=key, run_id=run_id, last_seen_us=now_us, goodbye_us=None, superseded_us=None)
    )


def supersede_others(connection: Connection, key: int, instance_id: str, now_us: int) -> None:
    """Put every other instance of the agent out of use."""
    connection.execute(
        update(instances)
        .where(
            instances.c.agent_key == key,
            instances.c.instance_id != instance_id,
            instances.c.superseded_us.is_(None),
        )
        .values(superseded_us=now_us)
    )


_INSTANCE_REPORTED = Prepared(
    update(instances)
    .where(instances.c.instance_id == bindparam("of_instance"))
    .values(
        run_id=bindparam("new_run_id"),
        last_seen_us=bindparam("now_us"),
        last_report_us=bindparam("now_us"),
        goodbye_us=null(),
    )
)
_AGENT_REPORTED = Prepared(
    update(agents)
    .where(agents.c.key == bindparam("of_key"))
    .values(
        run_id=bindparam("new_run_id"),
        boot_id=bindparam("new_boot_id"),
        interval_s=bindparam("new_interval_s"),
        clock_skew_s=bindparam("new_clock_skew_s"),
        last_report_us=bindparam("now_us"),
        heard_us=case(
            (agents.c.heard_us > bindparam("now_us") + _BEHIND_US, agents.c.heard_us),
            else_=bindparam("now_us"),
        ),
        goodbye_us=null(),
        samples=agents.c.samples + bindparam("more_samples"),
        events=agents.c.events + bindparam("more_events"),
        gaps=agents.c.gaps + bindparam("more_gaps"),
    )
)


def reported(
    instance: Instance,
    run_id: str,
    boot_id: str | None,
    interval_s: float,
    clock_skew_s: float,
    now_us: int,
    added: Mapping[str, int],
) -> list[tuple[Prepared, Values]]:
    """What to write once a report was taken: the agent is there, with so many more `samples`, `events` and `gaps`."""
    of_instance = {"of_instance": instance.instance_id, "new_run_id": run_id, "now_us": now_us}
    of_agent = {
        "of_key": instance.agent_key,
        "new_run_id": run_id,
        "new_boot_id": boot_id,
        "new_interval_s": interval_s,
        "new_clock_skew_s": clock_skew_s,
        "now_us": now_us,
        "more_samples": added["samples"],
        "more_events": added["events"],
        "more_gaps": added["gaps"],
    }
    return [(_INSTANCE_REPORTED, of_instance), (_AGENT_REPORTED, of_agent)]


def set_policy(connection: Connection, key: int, said: str) -> None:
    """What the agent says of the policy (`PolicyInForce` of the contract, as JSON)."""
    connection.execute(update(agents).where(agents.c.key == key).values(policy=said))


def refusing_policy(connection: Connection, limit: int = 1000) -> list[Row[Any]]:
    """Agents that said that they cannot use the policy that holds for them: id, hostname, policy."""
    query = select(agents.c.id, agents.c.hostname, agents.c.policy).where(
        agents.c.policy.contains('"refused"')
    )
    return list(connection.execute(query.order_by(agents.c.hostname, agents.c.id).limit(limit)))


def set_maintenance(connection: Connection, key: int, until_us: int | None) -> None:
    """Until when the agent announced that it will not report; None when that is over."""
    connection.execute(update(agents).where(agents.c.key == key).values(maintenance_until_us=until_us))


def said_goodbye(connection: Connection, instance: Instance, run_id: str, now_us: int) -> None:
    """Note a goodbye; one of an earlier run that comes late says nothing about the present one."""
    if instance.run_id != run_id:
        return
    connection.execute(
        update(instances).where(instances.c.instance_id == instance.instance_id).values(goodbye_us=now_us)
    )
    connection.execute(update(agents).where(agents.c.key == instance.agent_key).values(goodbye_us=now_us))


def page(connection: Connection, after: str | None, limit: int) -> list[Row[Any]]:
    """Up to `limit` agents by id, those behind `after`."""
    query = select(agents).order_by(agents.c.id).limit(limit)
    if after is not None:
        query = query.where(agents.c.id > after)
    return list(connection.execute(query))


def by_id(connection: Connection, agent_id: str) -> Row[Any] | None:
    row: Row[Any] | None = connection.execute(select(agents).where(agents.c.id == agent_id)).first()
    return row


def counts(connection: Connection, now_us: int) -> tuple[int, int]:
    """How many agents are connected (active or warning) and how many threats are open, taken on or not."""
    patience_us = (presence.OFFLINE_INTERVALS * agents.c.interval_s + presence.GRACE_S) * 1_000_000
    connected = connection.execute(
        select(func.count())
        .select_from(agents)
        .where(
            agents.c.goodbye_us.is_(None),
            agents.c.heard_us.is_not(None),
            now_us - agents.c.heard_us <= patience_us,
        )
    ).scalar()
    active = connection.execute(
        select(func.count()).select_from(threats).where(threats.c.status.in_(ACTIVE))
    ).scalar()
    return int(connected or 0), int(active or 0)


def record_counts(connection: Connection) -> dict[str, int]:
    """How many records were taken of all agents, by kind."""
    row = connection.execute(
        select(func.sum(agents.c.samples), func.sum(agents.c.events), func.sum(agents.c.gaps))
    ).one()
    return {kind: int(number or 0) for kind, number in zip(("samples", "events", "gaps"), row, strict=True)}


def center_id(connection: Connection) -> str:
    return str(connection.execute(select(meta.c.value).where(meta.c.name == "center_id")).scalar_one())


def touch(connection: Connection, now_us: int) -> None:
    """The probe's write: small, real, and always different."""
    connection.execute(update(meta).where(meta.c.name == "probe").values(value=str(now_us)))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"))
