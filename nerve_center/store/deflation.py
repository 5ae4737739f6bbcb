"""Samples as they are stored: deflated, with another sample of the same agent and hour as zlib's preset dictionary.

One sample of an agent is much like the next: by itself it deflates to a third, with such a dictionary to a tenth. The
first sample of an hour that is stored becomes its dictionary, deflated by itself. It stays as long as the hour has
samples, so none is ever without. A row says in zlib's own head whether it has a dictionary (RFC 1950, FDICT), and zlib
refuses a wrong one.
"""

from __future__ import annotations

import zlib

from sqlalchemy import bindparam, exists, select
from sqlalchemy.engine import Connection

from nerve_center.store.insertion import insert_new
from nerve_center.store.prepared import Prepared
from nerve_center.store.removal import HOUR_US
from nerve_center.store.tables import dictionaries, samples

_LEVEL = 6
_MEMORY = 8
_FDICT = 0x20

_OF_HOUR = Prepared(
    select(dictionaries.c.data).where(
        dictionaries.c.agent_key == bindparam("of_agent"), dictionaries.c.hour == bindparam("of_hour")
    )
)


class Deflation:
    """Deflates and inflates samples of one agent, within one transaction."""

    def __init__(self, connection: Connection, agent_key: int) -> None:
        self._connection = connection
        self._agent_key = agent_key
        self._hours: dict[int, bytes | None] = {}

    def deflate(self, time_us: int, text: bytes) -> bytes:
        """A sample of this time as it is to be stored; the first one of its hour becomes the hour's dictionary."""
        hour = time_us // HOUR_US
        dictionary = self._of(hour)
        if dictionary is None:
            row = {"agent_key": self._agent_key, "hour": hour, "data": zlib.compress(text, _LEVEL)}
            insert_new(self._connection, dictionaries, [row])
            dictionary = self._hours[hour] = text
        packer = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary
        )
        return packer.compress(text) + packer.flush()

    def inflate(self, time_us: int, data: bytes) -> bytes:
        """What was stored. Raises zlib.error where the database is damaged."""
        dictionary = self._of(time_us // HOUR_US) if data[1] & _FDICT else None
        if dictionary is None:
            return zlib.decompress(data)
        unpacker = zlib.decompressobj(zdict=dictionary)
        text = unpacker.decompress(data)
        if not unpacker.eof:
            raise zlib.error("a sample that is cut short")
        return text

    def _of(self, hour: int) -> bytes | None:
        if hour not in self._hours:
            row = _OF_HOUR.first(self._connection, {"of_agent": self._agent_key, "of_hour": hour})
            self._hours[hour] = None if row is None else zlib.decompress(row[0])
        return self._hours[hour]


def remove_unused(connection: Connection, agent_key: int, before_hour: int) -> int:
    """Remove an agent's dictionaries of hours before one that have no samples any more; how many."""
    within = (
        samples.c.agent_key == agent_key,
        samples.c.time_us >= dictionaries.c.hour * HOUR_US,
        samples.c.time_us < (dictionaries.c.hour + 1) * HOUR_US,
    )
    return int(
        connection.execute(
            dictionaries.delete().where(
                dictionaries.c.agent_key == agent_key,
                dictionaries.c.hour < before_hour,
                ~exists().where(*within),
            )
        ).rowcount
    )
