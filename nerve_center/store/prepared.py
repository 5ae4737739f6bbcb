"""Statements of the busiest path, compiled once and given to the driver as they are.

SQLAlchemy's own way of executing takes ten times what the drivers need for such short statements. Only for statements
whose values need no conversion: integers, numbers, texts, bytes. Errors are the driver's own; `engine.unavailable`
knows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ClauseElement

from nerve_center.store.engine import is_postgresql

_SQLITE = sqlite.dialect(paramstyle="named")  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there
_POSTGRESQL = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]  # as above
Values = Mapping[str, Any]


class Prepared:
    """A statement with named parameters, for both kinds of database."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_SQLITE)
        self._sqlite = str(compiled)
        self._postgresql = str(statement.compile(dialect=_POSTGRESQL))
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def whole(self, values: Values) -> Values:
        """The values for all parameters: those given, and the constants that the statement itself holds."""
        return {**self._constants, **values} if self._constants else values

    def sql(self, on_postgresql: bool) -> str:
        """The text that the driver is given."""
        return self._postgresql if on_postgresql else self._sqlite

    def first(
        self, connection: Connection, values: Values, after: Prepared | None = None
    ) -> tuple[Any, ...] | None:
        """The first row, in the order of the statement's columns; None where there is none.

        `after` is a statement that locks: on PostgreSQL it goes before, in the same message, with the same values.
        """
        cursor = connection.connection.cursor()
        if not is_postgresql(connection):
            found: tuple[Any, ...] | None = cursor.execute(self._sqlite, self.whole(values)).fetchone()
            return found
        before = "" if after is None else f"{after.sql(True)}; "
        cursor.execute(before + self._postgresql, self.whole(values))
        row = cursor.fetchone()
        return None if row is None else tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)


def run_all(connection: Connection, statements: Sequence[tuple[Prepared, Values]]) -> None:
    """Run statements that give no rows, one after the other: PostgreSQL gets them in one message."""
    cursor = connection.connection.cursor()
    if is_postgresql(connection):
        cursor.execute(
            b"; ".join(cursor.mogrify(each.sql(True), each.whole(values)) for each, values in statements)
        )
        return
    for each, values in statements:
        cursor.execute(each.sql(False), each.whole(values))
