"""Who may do what.

Two kinds of bearer token: an agent's credential, made by the agent and enrolled once with the enrollment token,
and an API token, made by `nervectl api-token add`. Both are 32 random bytes or more as text, so one SHA-256 is
the right way to keep them. What is compared is compared in constant time.

An agent's credential speaks for its own agent: its reports, its goodbye, and reading itself. What an API token may
be used for is its scope, see `store.tokens`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine, Row

from nerve_center.clock import Clock, format_time
from nerve_center.errors import Refused
from nerve_center.store import agents, enrollment, tokens
from nerve_center.store.engine import reading
from nerve_center.store.triage import Actor

_log = logging.getLogger(__name__)
_LEAST_CREDENTIAL = 32
_MOST_CREDENTIAL = 512
_MOST_TOKEN_FILE = 4096
_MOST_KNOWN = 20_000


def hash_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header. Raises Refused (401 `credential-missing`)."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise missing("Send it in the header Authorization: Bearer ...")
    if not _LEAST_CREDENTIAL <= len(token) <= _MOST_CREDENTIAL or not token.isprintable():
        raise missing(f"A credential has {_LEAST_CREDENTIAL} to {_MOST_CREDENTIAL} printable characters.")
    return token


def refusal(instance: agents.Instance, agent_id: str) -> Refused | None:
    """Why an instance may not report as `agent_id`; None where it may."""
    if instance.revoked:
        return revoked()
    if instance.agent_id != agent_id:
        return not_yours()
    return unknown() if instance.superseded else None


@dataclass(frozen=True)
class Vouched:
    """An enrollment token was right. `token_hash` is that of a named one, whose use is counted at the enrollment."""

    token_hash: bytes | None


class Authority:
    """Knows credentials, API tokens and enrollment tokens."""

    def __init__(self, engine: Engine, token_file: Path, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._enrollment = EnrollmentToken(token_file)
        self._known: dict[bytes, agents.Instance] = {}

    def reporter(self, credential: str, agent_id: str) -> agents.Instance:
        """The instance that may report as `agent_id`.

        Raises Refused: 401 `credential-unknown`, 403 `credential-revoked` or `not-your-agent`.
        """
        instance = self.instance(credential)
        if instance is None:
            raise unknown()
        if (wrong := refusal(instance, agent_id)) is not None:
            raise wrong
        return instance

    def remembered(self, credential: str, agent_id: str) -> agents.Instance:
        """As `reporter`, but an instance that was let in before is not asked for again.

        For a caller who asks once more in its own transaction, and calls `forget` where that refuses.
        """
        known = self.known(credential, agent_id)
        if known is not None:
            return known
        found = self.reporter(credential, agent_id)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[found.credential_hash] = found
        return found

    def known(self, credential: str, agent_id: str) -> agents.Instance | None:
        """Who was let in before with this credential and id; it costs no look into the database."""
        found = self._known.get(hash_of(credential))
        return found if found is not None and found.agent_id == agent_id else None

    def forget(self, credential: str) -> None:
        """Ask for the instance of a credential again."""
        self._known.pop(hash_of(credential), None)

    def instance(self, credential: str) -> agents.Instance | None:
        """The enrolled instance that a credential belongs to, or None."""
        wanted = hash_of(credential)
        with reading(self._engine) as connection:
            found = agents.instance_by_credential(connection, wanted)
        if found is None or not hmac.compare_digest(found.credential_hash, wanted):
            return None
        return found

    def reader(self, token: str, agent_id: str | None) -> None:
        """Let through an API token that reads, or an agent's own credential where `agent_id` is that agent.

        Raises Refused: 401 `credential-unknown` or `token-expired`, 403 `scope-required`, `credential-revoked`,
        `not-your-agent` or `api-token-required`.
        """
        if agent_id is None or self._api_token(token) is not None:
            self.program(token, "read")
        else:
            self.reporter(token, agent_id)

    def actor(self, token: str) -> Actor:
        """Who acts on threats with this API token. Raises Refused as `program` does."""
        return self.program(token, "threats")

    def program(self, token: str, scope: str) -> Actor:
        """The program that an API token belongs to, where its scope grants this one.

        Raises Refused: 401 `credential-unknown` or `token-expired`, 403 `scope-required`, or `api-token-required`
        for an agent's credential.
        """
        row = self._api_token(token)
        if row is None:
            if self.instance(token) is None:
                raise unknown()
            raise Refused(
                403,
                "api-token-required",
                "This needs an API token.",
                "Make one with: nervectl api-token add NAME",
            )
        if row.expires_us is not None and row.expires_us <= self._clock.now_us():
            raise Refused(
                401,
                "token-expired",
                "This API token has reached its end.",
                f"It ended at {format_time(row.expires_us)}. Make another one: nervectl api-token add NAME",
                headers=_CHALLENGE,
            )
        if scope not in tokens.GRANTS.get(row.scope, ()):
            raise Refused(
                403,
                "scope-required",
                "This API token is for something else.",
                f"This needs the scope {scope}; the token {row.name} has the scope {row.scope}.",
            )
        return Actor("token", row.name)

    def _api_token(self, token: str) -> Row[Any] | None:
        wanted = hash_of(token)
        with reading(self._engine) as connection:
            row = tokens.find(connection, wanted)
        return row if row is not None and hmac.compare_digest(row.token_hash, wanted) else None

    def check_enrollment(self, offered: str | None) -> Vouched:
        """What vouches for a new agent: the token in its file, or one of the named ones.

        Raises Refused: 401 `enrollment-token-missing` or `enrollment-token-invalid`.
        """
        if not offered:
            raise Refused(
                401,
                "enrollment-token-missing",
                "This credential is not known, and no enrollment token came with it.",
                "Enroll the agent with the token that `nervectl token show` prints.",
                headers=_CHALLENGE,
            )
        if self._enrollment.matches(offered):
            return Vouched(None)
        wanted = hash_of(offered.strip())
        with reading(self._engine) as connection:
            if not enrollment.is_good(connection, wanted, self._clock.now_us()):
                raise enrollment_invalid()
        return Vouched(wanted)


class EnrollmentToken:
    """The token in its file, read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version: tuple[int, int, int] | None = None
        self._hash: bytes | None = None

    def matches(self, offered: str) -> bool:
        """Whether this is the token; nothing is while there is no usable file."""
        with self._lock:
            self._refresh()
            wanted = self._hash
        return wanted is not None and hmac.compare_digest(wanted, hash_of(offered.strip()))

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if version == self._version:
                return
            text = read_token(self._path)
        except (OSError, ValueError) as exc:
            if self._version != (0, 0, 0):
                _log.warning("no agent can enroll: %s; run: nervectl token rotate", exc)
            self._version, self._hash = (0, 0, 0), None
            return
        self._version, self._hash = version, hash_of(text)


def read_token(path: Path) -> str:
    """The token in a file. Raises OSError, and ValueError where it holds none."""
    with path.open("rb") as file:
        raw = file.read(_MOST_TOKEN_FILE + 1)
    try:
        text = raw.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(raw) > _MOST_TOKEN_FILE or len(text.split()) != 1:
        raise ValueError(f"{path} does not hold one token")
    return text


_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def missing(detail: str) -> Refused:
    return Refused(401, "credential-missing", "This needs a credential.", detail, headers=_CHALLENGE)


def unknown() -> Refused:
    return Refused(
        401,
        "credential-unknown",
        "The nerve center does not know this credential for this agent.",
        "An agent registers again; a person makes an API token with: nervectl api-token add NAME",
        headers=_CHALLENGE,
    )


def enrollment_invalid() -> Refused:
    return Refused(
        401,
        "enrollment-token-invalid",
        "The enrollment token is not the right one.",
        "Enroll the agent with the token that `nervectl token show` prints, or with one that is still good.",
        headers=_CHALLENGE,
    )


def revoked() -> Refused:
    return Refused(403, "credential-revoked", "This credential was revoked.")


def not_yours() -> Refused:
    return Refused(403, "not-your-agent", "This credential belongs to another agent.")
