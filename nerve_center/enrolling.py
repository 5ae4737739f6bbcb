"""Enrollment tokens that a person makes, and withdraws, on the page."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection, Engine, Row

from nerve_center.auth import hash_of
from nerve_center.clock import Clock, format_time
from nerve_center.errors import Refused
from nerve_center.store import audit, enrollment
from nerve_center.store.engine import reading
from nerve_center.store.writer import Writer


class Enrolling:
    """Makes tokens that end by themselves, and ends them sooner."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock

    def make(self, actor: str, lasts_s: int, uses: int | None, labels: Mapping[str, str]) -> tuple[str, int]:
        """A new token, and when it ends (time of day, microseconds). It is named by itself.

        `actor` is whose act it is in the audit log (`person.actor`). Raises DatabaseUnavailable.
        """
        token, name = secrets.token_urlsafe(32), f"page-{secrets.token_hex(4)}"
        now_us = self._clock.now_us()
        expires_us = now_us + lasts_s * 1_000_000

        def work(connection: Connection) -> None:
            enrollment.add(connection, name, hash_of(token), now_us, actor, expires_us, uses, labels)
            detail = {"expires_at": format_time(expires_us), "uses": uses, "labels": dict(labels)}
            audit.note(connection, now_us, actor, "enrollment.add", name, detail)

        self._writer.submit(work)
        return token, expires_us

    def tokens(self) -> Sequence[Row[Any]]:
        """All that have a name, also those that are over."""
        with reading(self._engine) as connection:
            return enrollment.everyone(connection)

    def withdraw(self, actor: str, name: str) -> None:
        """End a token now. Agents that enrolled with it stay enrolled. Raises Refused: 404 `not-found`."""

        def work(connection: Connection) -> bool:
            return enrollment.withdraw(connection, actor, name, self._clock.now_us())

        if not self._writer.submit(work):
            raise Refused(404, "not-found", "There is no such enrollment token.")
