"""People who may log in, their sessions and their one-time links. Of secrets only hashes are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import Connection, Row

from nerve_center.store.people_tables import login_links, users, web_sessions


@dataclass(frozen=True)
class Session:
    """One browser that is logged in. Times are steady."""

    key: int
    user_name: str
    role: str
    created_us: int
    used_us: int
    expires_us: int
    address: str
    browser: str


def find(connection: Connection, name: str) -> Row[Any] | None:
    row: Row[Any] | None = connection.execute(select(users).where(users.c.name == name)).first()
    return row


def everyone(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(users).order_by(users.c.name)))


def is_there_anyone(connection: Connection) -> bool:
    return connection.execute(select(users.c.name).limit(1)).first() is not None


def other_admins(connection: Connection, name: str) -> int:
    """How many admins could still log in without this one."""
    found = connection.execute(
        select(func.count())
        .select_from(users)
        .where(users.c.role == "admin", users.c.disabled_us.is_(None), users.c.name != name)
    ).scalar_one()
    return int(found)


def add(connection: Connection, name: str, password_hash: str, role: str, now_us: int) -> None:
    connection.execute(
        insert(users).values(name=name, password_hash=password_hash, role=role, created_us=now_us)
    )


def remove(connection: Connection, name: str) -> bool:
    """Remove a person with all sessions and links; whether there was one."""
    end_sessions(connection, name)
    return bool(connection.execute(delete(users).where(users.c.name == name)).rowcount)


def change(connection: Connection, name: str, **values: Any) -> bool:
    """Set columns (`password_hash`, `role`, `disabled_us`); whether there is such a person."""
    return bool(connection.execute(update(users).where(users.c.name == name).values(**values)).rowcount)


def add_session(
    connection: Connection,
    token_hash: bytes,
    name: str,
    now_us: int,
    expires_us: int,
    address: str,
    browser: str,
) -> None:
    connection.execute(
        insert(web_sessions).values(
            token_hash=token_hash,
            user_name=name,
            created_us=now_us,
            used_us=now_us,
            expires_us=expires_us,
            address=address[:64],
            browser=browser[:255],
        )
    )


def session(connection: Connection, token_hash: bytes) -> Session | None:
    """The session of a token, with the role that its person has now; None too where the person is disabled."""
    row = connection.execute(
        select(web_sessions, users.c.role)
        .join(users, users.c.name == web_sessions.c.user_name)
        .where(web_sessions.c.token_hash == token_hash, users.c.disabled_us.is_(None))
    ).first()
    return None if row is None else _session(row)


def sessions_of(connection: Connection, name: str, now_us: int, idle_us: int) -> list[Session]:
    """A person's sessions that are still good, the latest used first."""
    rows = connection.execute(
        select(web_sessions, users.c.role)
        .join(users, users.c.name == web_sessions.c.user_name)
        .where(
            web_sessions.c.user_name == name,
            web_sessions.c.expires_us > now_us,
            web_sessions.c.used_us > now_us - idle_us,
        )
        .order_by(web_sessions.c.used_us.desc(), web_sessions.c.key.desc())
    )
    return [_session(row) for row in rows]


def touch_session(connection: Connection, key: int, now_us: int) -> None:
    connection.execute(update(web_sessions).where(web_sessions.c.key == key).values(used_us=now_us))


def end_session(connection: Connection, name: str, key: int) -> bool:
    """End one session of a person; whether it was there."""
    return bool(
        connection.execute(
            delete(web_sessions).where(web_sessions.c.key == key, web_sessions.c.user_name == name)
        ).rowcount
    )


def end_sessions(connection: Connection, name: str, but: int | None = None) -> int:
    """End a person's sessions, except one, and all links; how many sessions there were."""
    connection.execute(delete(login_links).where(login_links.c.user_name == name))
    ended = delete(web_sessions).where(web_sessions.c.user_name == name)
    if but is not None:
        ended = ended.where(web_sessions.c.key != but)
    return int(connection.execute(ended).rowcount)


def add_link(connection: Connection, token_hash: bytes, name: str, expires_us: int) -> None:
    connection.execute(
        insert(login_links).values(token_hash=token_hash, user_name=name, expires_us=expires_us)
    )


def take_link(connection: Connection, token_hash: bytes, now_us: int) -> str | None:
    """Use a link up; whose it was, where it was still good and the person may log in."""
    name = connection.execute(
        select(login_links.c.user_name)
        .join(users, users.c.name == login_links.c.user_name)
        .where(
            login_links.c.token_hash == token_hash,
            login_links.c.expires_us > now_us,
            users.c.disabled_us.is_(None),
        )
    ).scalar()
    # The one whose row goes has used it, also where two come at once.
    gone = connection.execute(delete(login_links).where(login_links.c.token_hash == token_hash)).rowcount
    return str(name) if name is not None and gone == 1 else None


def forget_old(connection: Connection, now_us: int, idle_us: int) -> None:
    """Remove sessions and links that are over."""
    connection.execute(
        delete(web_sessions).where(
            (web_sessions.c.expires_us <= now_us) | (web_sessions.c.used_us <= now_us - idle_us)
        )
    )
    connection.execute(delete(login_links).where(login_links.c.expires_us <= now_us))


def _session(row: Row[Any]) -> Session:
    return Session(
        row.key,
        row.user_name,
        row.role,
        row.created_us,
        row.used_us,
        row.expires_us,
        row.address,
        row.browser,
    )
