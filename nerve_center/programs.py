"""API tokens of programs, as an admin makes and withdraws them on the page."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection, Engine, Row

from nerve_center.auth import hash_of
from nerve_center.clock import Clock
from nerve_center.errors import Refused
from nerve_center.people import NAME
from nerve_center.store import tokens
from nerve_center.store.engine import reading
from nerve_center.store.writer import Writer


class Programs:
    """Makes tokens of which only a hash is kept."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock

    def tokens(self) -> Sequence[Row[Any]]:
        """All tokens, by name."""
        with reading(self._engine) as connection:
            return tokens.all_tokens(connection)

    def make(self, actor: str, name: str, scope: str, lasts_s: int) -> str:
        """A new token, to be shown this once; `lasts_s` 0 is for ever.

        `actor` is whose act it is in the audit log. Raises Refused: 422 `token-invalid`, 409 `token-exists`.
        """
        if not NAME.fullmatch(name) or scope not in tokens.GRANTS or lasts_s < 0:
            raise Refused(
                422,
                "token-invalid",
                "This cannot be a token.",
                "Its name has up to 64 letters, digits, dots, dashes, underscores and @; its scope is one of the list.",
            )
        made, now_us = secrets.token_urlsafe(32), self._clock.now_us()
        until_us = now_us + lasts_s * 1_000_000 if lasts_s else None

        def work(connection: Connection) -> bool:
            return tokens.issue(connection, actor, name, hash_of(made), now_us, scope, until_us)

        if not self._writer.submit(work):
            raise Refused(409, "token-exists", f"There is a token {name} already.")
        return made

    def withdraw(self, actor: str, name: str) -> None:
        """Refuse a token from now on. Raises Refused: 404 `not-found`."""

        def work(connection: Connection) -> bool:
            return tokens.withdraw(connection, actor, name, self._clock.now_us())

        if not self._writer.submit(work):
            raise Refused(404, "not-found", "There is no such token.")
