"""Samples as they are stored: by what differs from another sample of the same agent and hour.

The first sample of an hour that is stored becomes its dictionary, deflated by itself. All samples of that hour are
stored by what differs from it (`difference`), or, where the two have nothing in common, deflated with it as zlib's
preset dictionary. It stays as long as the hour has samples, so none is ever without. The head of zlib's stream says
which way a sample is stored (RFC 1950: its window; FDICT), and zlib refuses a wrong dictionary.

That is for databases that no older version works with. Where one may, samples are stored as the oldest one
(`settings.OLDEST`) reads them: before script 0011 deflated by themselves, before 0012 with the dictionary. All are
read.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from sqlalchemy import bindparam, exists, select
from sqlalchemy.engine import Connection

from nerve_center.store import settings
from nerve_center.store.difference import Base, is_packed
from nerve_center.store.insertion import insert_new
from nerve_center.store.prepared import Prepared
from nerve_center.store.removal import HOUR_US
from nerve_center.store.tables import dictionaries, samples

_LEVEL = 6
_FDICT = 0x20
_WITH_DICTIONARIES = "0011"
_BY_DIFFERENCE = "0012"
"""The scripts of `migrations` with which the ways of storing a sample came."""

_OF_HOUR = Prepared(
    select(dictionaries.c.data).where(
        dictionaries.c.agent_key == bindparam("of_agent"), dictionaries.c.hour == bindparam("of_hour")
    )
)


class Deflation:
    """Deflates and inflates samples of one agent, within one transaction."""

    def __init__(
        self, connection: Connection, agent_key: int, known: Mapping[int, bytes | None] | None = None
    ) -> None:
        """`known` are hours whose dictionary, as it is stored, was read before; None where there is none."""
        self._connection = connection
        self._agent_key = agent_key
        self._known = known or {}
        self._hours: dict[int, Base | None] = {}
        self._read_by = ""

    def deflate(self, time_us: int, text: bytes) -> bytes:
        """A sample of this time as it is to be stored; the first one of its hour becomes the hour's dictionary."""
        oldest = self._read_by or self._oldest()
        if oldest < _WITH_DICTIONARIES:
            return zlib.compress(text, _LEVEL)
        hour = time_us // HOUR_US
        base = self._hours.get(hour) or self._of(hour)
        if base is None:
            row = {"agent_key": self._agent_key, "hour": hour, "data": zlib.compress(text, _LEVEL)}
            insert_new(self._connection, dictionaries, [row])
            base = self._hours[hour] = Base(text)
        packed = base.pack(text) if oldest >= _BY_DIFFERENCE else None
        if packed is None:
            packer = zlib.compressobj(_LEVEL, zdict=base.text)
            packed = packer.compress(text) + packer.flush()
        return packed

    def inflate(self, time_us: int, data: bytes) -> bytes:
        """What was stored. Raises zlib.error where the database is damaged."""
        by_difference = is_packed(data)
        base = self._of(time_us // HOUR_US) if by_difference or data[1] & _FDICT else None
        if base is None:
            if by_difference:
                raise zlib.error("a sample whose hour has no dictionary")
            return zlib.decompress(data)
        if by_difference:
            return base.unpack(data)
        unpacker = zlib.decompressobj(zdict=base.text)
        text = unpacker.decompress(data)
        if not unpacker.eof:
            raise zlib.error("a sample that is cut short")
        return text

    def _oldest(self) -> str:
        """The oldest version that may work with this database; asked for once in a connection, for it only rises."""
        info = self._connection.info
        if settings.OLDEST not in info:
            info[settings.OLDEST] = settings.get(self._connection, settings.OLDEST) or ""
        self._read_by = str(info[settings.OLDEST])
        return self._read_by

    def _of(self, hour: int) -> Base | None:
        if hour not in self._hours:
            data = self._known[hour] if hour in self._known else self._read(hour)
            self._hours[hour] = None if data is None else Base(zlib.decompress(data))
        return self._hours[hour]

    def _read(self, hour: int) -> bytes | None:
        row = _OF_HOUR.first(self._connection, {"of_agent": self._agent_key, "of_hour": hour})
        return None if row is None else row[0]


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
