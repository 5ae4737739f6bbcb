"""People: logging in, and what a browser may do once it has.

    login      counts the attempt, checks the password, makes a session with a token of its own
    person     who a session's token belongs to, while it is neither idle for too long nor past its end
    link       logs in once, without a password

A token is 32 random bytes that only the browser keeps; the database has its SHA-256. What forms have to carry against
forgery is derived from it, so that each session has its own. Sessions end by steady time: a clock that jumps
neither ends nor prolongs one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
from dataclasses import dataclass

from sqlalchemy.engine import Connection, Engine

from nerve_center.auth import hash_of
from nerve_center.clock import Clock
from nerve_center.config import Login
from nerve_center.errors import DatabaseUnavailable, Refused
from nerve_center.logs import printable
from nerve_center.passwords import Passwords
from nerve_center.store import attempts, audit, users
from nerve_center.store.engine import reading
from nerve_center.store.steady import Steady
from nerve_center.store.writer import Writer

_log = logging.getLogger(__name__)

ROLES = ("viewer", "operator", "admin")
"""From the least to the most; each may what those before it may."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
WINDOW_S = 600
PER_BOTH, PER_ADDRESS, PER_ACCOUNT = 5, 20, 40
"""Attempts in one window: from one address at one account, from one address, at one account from anywhere."""
LINK_S = 300
_TOUCH_US = 60_000_000


@dataclass(frozen=True)
class Person:
    """Whoever is logged in. `csrf` is what the forms of this session carry."""

    name: str
    role: str
    session: int
    csrf: str

    def may(self, role: str) -> bool:
        """Whether this person has a role, or more."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def actor(self) -> str:
        """This person in the audit log."""
        return f"user:{self.name}"


class People:
    """Logs people in and knows them again."""

    def __init__(self, settings: Login, engine: Engine, writer: Writer, clock: Clock, steady: Steady) -> None:
        self.passwords = Passwords()
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._steady = steady
        self.idle_us = idle_us(settings)
        self._lifetime_us = round(settings.lifetime_h * 3_600_000_000)

    def login(self, name: str, password: str, address: str, browser: str) -> str:
        """The token of a new session.

        Raises Refused: 429 `too-many-attempts` (with Retry-After), 401 `login-failed`; and DatabaseUnavailable.
        """
        name = name if NAME.fullmatch(name) else ""
        subjects = _subjects(name, address)
        self._count(subjects, name, address)
        with reading(self._engine) as connection:
            row = users.find(connection, name)
        known = row is not None and row.disabled_us is None
        right = self.passwords.check(password, row.password_hash if row is not None else None)
        if row is None or not right or not known:
            _log.info("login failed for %s from %s", name or "an impossible name", printable(address))
            raise Refused(401, "login-failed", "Name or password is not right.")
        kept = row.password_hash

        def work(connection: Connection) -> str:
            for subject, _ in subjects:
                attempts.forgive(connection, subject)
            now = users.find(connection, name)
            if now is None or now.password_hash != kept or now.disabled_us is not None:
                raise Refused(401, "login-failed", "Name or password is not right.")
            return self._begin(connection, name, address, browser, "password")

        return self._writer.submit(work)

    def login_by_link(self, token: str, address: str, browser: str) -> str:
        """The token of a new session, for a link that was not used yet.

        Raises Refused: 401 `login-failed`; and DatabaseUnavailable.
        """

        def work(connection: Connection) -> str | None:
            name = users.take_link(connection, hash_of(token), self._steady.now_us())
            return name and self._begin(connection, name, address, browser, "link")

        made = self._writer.submit(work)
        if made is None:
            raise Refused(401, "login-failed", "This link was used already, or is too old.")
        return made

    def person(self, token: str) -> Person | None:
        """Who is logged in with a session's token, or None. Raises DatabaseUnavailable."""
        with reading(self._engine) as connection:
            found = users.session(connection, hash_of(token))
        now_us = self._steady.now_us()
        if found is None or now_us >= found.expires_us or now_us - found.used_us >= self.idle_us:
            return None
        if now_us - found.used_us >= min(_TOUCH_US, self.idle_us // 4):
            self._touch(found.key, now_us)
        return Person(found.user_name, found.role, found.key, csrf_of(token))

    def logout(self, person: Person) -> None:
        """End the session that this request came with."""
        self._writer.submit(lambda connection: users.end_session(connection, person.name, person.session))

    def end_session(self, person: Person, key: int) -> None:
        """End one session of a person. Raises Refused (404 `not-found`) where there is none like it."""

        def work(connection: Connection) -> bool:
            ended = users.end_session(connection, person.name, key)
            if ended:
                audit.note(connection, self._clock.now_us(), person.actor, "session.end", person.name)
            return ended

        if not self._writer.submit(work):
            raise Refused(404, "not-found", "There is no such session.")

    def change_password(self, person: Person, old: str, new: str, address: str) -> None:
        """Change one's own password, and end one's other sessions.

        Raises Refused: 429 `too-many-attempts`, 403 `password-wrong`; and DatabaseUnavailable.
        """
        subjects = _subjects(person.name, address)
        self._count(subjects, person.name, address)
        with reading(self._engine) as connection:
            row = users.find(connection, person.name)
        if row is None or not self.passwords.check(old, row.password_hash):
            raise Refused(403, "password-wrong", "The old password is not right.")
        made = self.passwords.make(new)

        def work(connection: Connection) -> None:
            for subject, _ in subjects:
                attempts.forgive(connection, subject)
            users.change(connection, person.name, password_hash=made)
            users.end_sessions(connection, person.name, but=person.session)
            audit.note(connection, self._clock.now_us(), person.actor, "user.password", person.name)

        self._writer.submit(work)

    def sessions(self, name: str) -> list[users.Session]:
        """A person's sessions that are still good."""
        with reading(self._engine) as connection:
            return users.sessions_of(connection, name, self._steady.now_us(), self.idle_us)

    def is_there_anyone(self) -> bool:
        """Whether anybody could log in at all."""
        with reading(self._engine) as connection:
            return users.is_there_anyone(connection)

    def _touch(self, key: int, now_us: int) -> None:
        try:
            self._writer.submit(lambda connection: users.touch_session(connection, key, now_us), 0.5)
        except DatabaseUnavailable as exc:  # whoever only reads can go on while nothing can be written
            _log.debug("a session's use was not noted: %s", exc.reason)

    def _begin(self, connection: Connection, name: str, address: str, browser: str, by: str) -> str:
        token, now_us = secrets.token_urlsafe(32), self._steady.now_us()
        users.forget_old(connection, now_us, self.idle_us)
        expires_us = now_us + self._lifetime_us
        users.add_session(connection, hash_of(token), name, now_us, expires_us, address, browser)
        detail = {"address": address, "by": by}
        audit.note(connection, self._clock.now_us(), f"user:{name}", "login", name, detail)
        return token

    def _count(self, subjects: list[tuple[str, int]], name: str, address: str) -> None:
        """Count an attempt. Raises Refused where there were too many."""
        now_us = self._steady.now_us()

        def work(connection: Connection) -> int | None:
            for subject, most in subjects:
                number, until_us = attempts.count(connection, subject, now_us, WINDOW_S * 1_000_000)
                if number > most:
                    if number == most + 1:
                        _log.warning("too many attempts to log in: %s", printable(subject))
                        detail = {"address": address, "attempts": number}
                        audit.note(connection, self._clock.now_us(), "center", "login.refused", name, detail)
                    return until_us
            return None

        until_us = self._writer.submit(work)
        if until_us is not None:
            wait_s = max(1, -(-(until_us - now_us) // 1_000_000))
            raise Refused(
                429,
                "too-many-attempts",
                "There were too many attempts to log in.",
                f"Try again in {-(-wait_s // 60)} min, or ask for a link: nervectl user login-link NAME",
                headers={"Retry-After": str(wait_s)},
            )


def idle_us(settings: Login) -> int:
    """After how long without use a session is over."""
    return round(settings.idle_h * 3_600_000_000)


def csrf_of(token: str) -> str:
    """What the forms of a session carry; from it nobody comes back to the token."""
    return hmac.new(token.encode(), b"dio form", hashlib.sha256).hexdigest()


def _subjects(name: str, address: str) -> list[tuple[str, int]]:
    """What an attempt is counted for, with its limit; the address first, so that one address fills no table."""
    try:
        parsed = ipaddress.ip_address(address)
        # One household has a /64 of IPv6 to choose its addresses from.
        place = str(ipaddress.ip_network((parsed, 64), strict=False) if parsed.version == 6 else parsed)
    except ValueError:
        place = "unknown"
    return [
        (f"address {place}", PER_ADDRESS),
        (f"account {name} from {place}", PER_BOTH),
        (f"account {name}", PER_ACCOUNT),
    ]
