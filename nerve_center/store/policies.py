"""Policies as rows: how the hosts with a label are watched, and those of the whole fleet (an empty label).

Whatever changes what agents are told (`policies`, `tolerances`) calls `touch`: `revision` is another one then, and
who keeps something that was made from these tables makes it anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import and_, delete, insert, or_, select, update
from sqlalchemy.engine import Connection

from nerve_center.errors import Refused
from nerve_center.store import audit
from nerve_center.store.policy_tables import policies
from nerve_center.store.tables import meta

MOST = 64
MOST_RULES_BYTES = 256 * 1024
"""Of all policies together: an agent may have the labels of all of them, and takes a document of 1 MiB at most."""
_REVISION = "policy"


@dataclass(frozen=True)
class Policy:
    """How some hosts are watched. Without a label (both empty) it is that of the fleet.

    `interval_s` None: it says nothing of it. `rules` is TOML as in a file of rules; empty: it says nothing of them.
    """

    label_name: str
    label_value: str
    interval_s: float | None
    rules: str
    updated_us: int = 0
    updated_by: str = ""

    @property
    def of(self) -> str:
        """Whose it is, for people: `fleet`, or the label."""
        return f"{self.label_name}={self.label_value}" if self.label_name else "fleet"

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether it is for a host with these labels."""
        return not self.label_name or labels.get(self.label_name) == self.label_value


def everyone(connection: Connection) -> list[Policy]:
    """All, in the order in which they apply: the fleet's first, then by label."""
    return page(connection, MOST)


def page(connection: Connection, limit: int, after: tuple[str, str] | None = None) -> list[Policy]:
    """The same, `limit` of them; `after` are the label's name and value of the last one of the page before."""
    name, value = policies.c.label_name, policies.c.label_value
    wanted = select(policies).order_by(name, value).limit(limit)
    if after is not None:
        wanted = wanted.where(or_(name > after[0], and_(name == after[0], value > after[1])))
    return [Policy(*row) for row in connection.execute(wanted)]


def save(connection: Connection, new: Policy, actor: str, now_us: int) -> bool:
    """Put a policy in the place of the one of the same label; one that says nothing removes it.

    Returns whether anything changed. Raises Refused (409 `too-many-policies`).
    """
    here = (policies.c.label_name == new.label_name, policies.c.label_value == new.label_value)
    others = [each for each in everyone(connection) if each.of != new.of]
    old = connection.execute(select(policies.c.interval_s, policies.c.rules).where(*here)).first()
    empty = new.interval_s is None and not new.rules.strip()
    if (old is None and empty) or (old is not None and tuple(old) == (new.interval_s, new.rules)):
        return False
    used = sum(len(each.rules.encode()) for each in (*others, new))
    if not empty and (len(others) >= MOST or used > MOST_RULES_BYTES):
        raise Refused(
            409,
            "too-many-policies",
            "The policies are too many or too long.",
            f"At most {MOST}, with {MOST_RULES_BYTES // 1024} KiB of rules in all.",
        )
    connection.execute(delete(policies).where(*here))
    if not empty:
        connection.execute(
            insert(policies).values(
                label_name=new.label_name,
                label_value=new.label_value,
                interval_s=new.interval_s,
                rules=new.rules,
                updated_us=now_us,
                updated_by=actor[:128],
            )
        )
    touch(connection)
    detail = {"interval_s": new.interval_s, "rules_bytes": len(new.rules.encode())}
    audit.note(connection, now_us, actor, "policy.remove" if empty else "policy.save", new.of, detail)
    return True


def revision(connection: Connection) -> str:
    """Another one after each change of what agents are told; empty before the first."""
    found = connection.execute(select(meta.c.value).where(meta.c.name == _REVISION)).scalar()
    return "" if found is None else str(found)


def touch(connection: Connection) -> None:
    """What agents are told has changed, in this transaction."""
    value = secrets.token_hex(8)
    changed = connection.execute(update(meta).where(meta.c.name == _REVISION).values(value=value))
    if not changed.rowcount:
        connection.execute(insert(meta).values(name=_REVISION, value=value))
