"""What an admin does about people on the page. Nobody can shut out the last admin, not even that one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection, Engine

from nerve_center import passwords
from nerve_center.clock import Clock
from nerve_center.errors import Refused
from nerve_center.people import NAME, ROLES, People, Person
from nerve_center.store import audit, users
from nerve_center.store.engine import reading
from nerve_center.store.writer import Writer


@dataclass(frozen=True)
class Account:
    """Somebody who may log in. `created_us` is the time of day."""

    name: str
    role: str
    created_us: int
    disabled: bool


class Managing:
    """Makes, changes and refuses accounts."""

    def __init__(self, people: People, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._people = people
        self._engine = engine
        self._writer = writer
        self._clock = clock

    def everyone(self) -> Sequence[Account]:
        """All accounts, by name."""
        with reading(self._engine) as connection:
            rows = users.everyone(connection)
        return [Account(row.name, row.role, row.created_us, row.disabled_us is not None) for row in rows]

    def add(self, admin: Person, name: str, role: str, password: str) -> None:
        """Let somebody log in. Raises Refused: 422 `person-invalid`, 409 `person-exists`."""
        why = passwords.why_not(password, name)
        if not NAME.fullmatch(name):
            raise _invalid("A name has up to 64 letters, digits, dots, dashes, underscores and @.")
        if role not in ROLES:
            raise _invalid("There is no such role.")
        if why is not None:
            raise _invalid(f"The password {why}.")
        made = self._people.passwords.make(password)

        def work(connection: Connection) -> None:
            if users.find(connection, name) is not None:
                raise Refused(409, "person-exists", f"There is a person {name} already.")
            now_us = self._clock.now_us()
            users.add(connection, name, made, role, now_us)
            audit.note(connection, now_us, admin.actor, "user.add", name, {"role": role})

        self._writer.submit(work)

    def set_role(self, admin: Person, name: str, role: str) -> None:
        """Give somebody another role. Raises Refused: 422 `person-invalid`, 404 `not-found`, 409 `last-admin`."""
        if role not in ROLES:
            raise _invalid("There is no such role.")
        self._change(admin, name, "user.role", {"role": role}, keeps_admin=role == "admin", role=role)

    def disable(self, admin: Person, name: str) -> None:
        """Refuse somebody, and end every session. Raises Refused: 404 `not-found`, 409 `last-admin`."""
        self._change(admin, name, "user.disable", {}, keeps_admin=False, disabled_us=self._clock.now_us())

    def enable(self, admin: Person, name: str) -> None:
        """Let somebody log in again. Raises Refused: 404 `not-found`."""
        self._change(admin, name, "user.enable", {}, keeps_admin=True, disabled_us=None)

    def _change(
        self,
        admin: Person,
        name: str,
        action: str,
        detail: dict[str, str],
        keeps_admin: bool,
        **values: Any,
    ) -> None:
        def work(connection: Connection) -> None:
            if not users.change(connection, name, **values):
                raise Refused(404, "not-found", "There is no such person.")
            if not keeps_admin and not users.other_admins(connection, name):
                raise Refused(409, "last-admin", "Nobody else is an admin: make another one first.")
            if values.get("disabled_us") is not None:
                users.end_sessions(connection, name)
            audit.note(connection, self._clock.now_us(), admin.actor, action, name, detail)

        self._writer.submit(work)


def _invalid(detail: str) -> Refused:
    return Refused(422, "person-invalid", "This person cannot be made so.", detail)
