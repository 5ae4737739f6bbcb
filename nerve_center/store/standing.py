"""What a report has to be held against, asked for in one question.

Four short ones took as long as the report's five writes; on PostgreSQL each is a message and an answer that is waited
for. There the agent's row is locked first, in the same message: what follows in it sees what the one before has
committed (`READ COMMITTED` looks anew for each statement).
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, bindparam, select
from sqlalchemy.engine import Connection

from nerve_center.store import agents
from nerve_center.store.agents import Instance
from nerve_center.store.deflation import Deflation
from nerve_center.store.prepared import Prepared
from nerve_center.store.records import Mark
from nerve_center.store.removal import HOUR_US
from nerve_center.store.tables import agents as agents_table
from nerve_center.store.tables import dictionaries, instances, runs, streams


class Standing(NamedTuple):
    """An instance as it is inside this transaction, and what is stored of the history that it reports of."""

    instance: Instance
    cloned: bool
    """The run that reports was found to be a clone."""
    mark: Mark
    deflation: Deflation


_JOINED = instances.join(agents_table, agents_table.c.key == instances.c.agent_key)
_BY_ID = instances.c.instance_id == bindparam("of_instance")
_LOCK = Prepared(
    select(agents_table.c.key).select_from(_JOINED).where(_BY_ID).with_for_update(key_share=True)
)
_ASKED = Prepared(
    select(
        runs.c.cloned_us,
        streams.c.key,
        streams.c.seq,
        streams.c.tag,
        dictionaries.c.data,
        *agents.OF_INSTANCE,
    )
    .select_from(
        _JOINED.outerjoin(runs, runs.c.run_id == bindparam("of_run"))
        .outerjoin(
            streams,
            and_(
                streams.c.agent_key == agents_table.c.key,
                streams.c.epoch == bindparam("of_epoch"),
                streams.c.stream == bindparam("of_stream"),
            ),
        )
        .outerjoin(
            dictionaries,
            and_(
                dictionaries.c.agent_key == agents_table.c.key,
                dictionaries.c.hour == bindparam("of_hour"),
            ),
        )
    )
    .where(_BY_ID)
)


def locked(
    connection: Connection, instance_id: str, run_id: str, epoch: bytes, stream: str, time_us: int
) -> Standing | None:
    """None where there is no such instance. Nobody else changes any of it until the end of this transaction.

    `time_us` is that of a record, whose hour's dictionary will be needed.
    """
    hour = time_us // HOUR_US
    row = _ASKED.first(
        connection,
        {
            "of_instance": instance_id,
            "of_run": run_id,
            "of_epoch": epoch,
            "of_stream": stream,
            "of_hour": hour,
        },
        after=_LOCK,
    )
    if row is None:
        return None
    cloned_us, key, seq, tag, dictionary, *of_instance = row
    instance = agents.instance_of(of_instance)
    return Standing(
        instance,
        cloned_us is not None,
        Mark(None, 0, None) if key is None else Mark(key, seq, tag),
        Deflation(connection, instance.agent_key, {hour: dictionary}),
    )
