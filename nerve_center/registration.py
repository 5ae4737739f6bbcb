"""Registering, enrolling and saying goodbye; each one transaction.

A known credential registers again, which is about the rows of its agent alone, so that a fleet that comes back does not
queue up. An unknown one is enrolled with the enrollment token, as a new instance:

    agent id not known              a new agent
    older instances all silent,     the new instance takes id and history over; a `reinstalled` event is stored
    or said goodbye
    an older instance is live too   two hosts claim one id: the new instance is kept apart under an id of its
                                    own, and a `duplicate_identity` threat opens at the agent it claimed to be

Whether the older one is alive is not guessed: see `identity`, which may answer that the agent has to wait.

An instance that was taken over and comes back while its successor is live is kept apart in the same way. An
agent learns its id from the answer.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection

from nerve_center import auth, identity
from nerve_center.clock import Clock, format_time, parse_time
from nerve_center.contract import Contract
from nerve_center.errors import Refused
from nerve_center.identity import Claim
from nerve_center.ingest import invalid_body
from nerve_center.jsontext import Mismatch, check_text
from nerve_center.logs import printable
from nerve_center.store import agents, enrollment, records, runs, threats
from nerve_center.store.agents import Facts, Instance
from nerve_center.store.steady import Steady
from nerve_center.store.writer import Writer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    agent_id: str
    instance_id: str
    place: str | None
    received_us: int
    facts: Facts


@dataclass(frozen=True)
class _Place:
    """Which agent an instance is to speak for, or why it has to wait."""

    agent_id: str
    key: int
    refusal: Refused | None = None


@dataclass(frozen=True)
class Registered:
    """What came of it: the answer's body, and whether the credential is new."""

    body: dict[str, Any]
    enrolled: bool


class Registrar:
    """Registers agents and takes their goodbyes."""

    def __init__(
        self, contract: Contract, authority: auth.Authority, writer: Writer, clock: Clock, steady: Steady
    ) -> None:
        self._contract = contract
        self._authority = authority
        self._writer = writer
        self._clock = clock
        self._steady = steady

    def admit(self, credential: str, enrollment_token: str | None) -> auth.Vouched | None:
        """What vouches for a credential that must be enrolled, None for a known one; before the body is read.

        Raises Refused: 403 `credential-revoked`, 401 `enrollment-token-missing` or `-invalid`.
        """
        instance = self._authority.instance(credential)
        if instance is None:
            return self._authority.check_enrollment(enrollment_token)
        if instance.revoked:
            raise auth.revoked()
        return None

    def register(self, credential: str, vouched: auth.Vouched | None, body: Any) -> Registered:
        """Register; without `vouched` only a credential that is known.

        Raises Refused: 422 `invalid-body`, 403 `not-your-agent`; and DatabaseUnavailable.
        """
        request = self._request(body)
        credential_hash = auth.hash_of(credential)
        now_us = self._steady.now_us()

        def work(connection: Connection) -> tuple[_Place, bool, str]:
            known = agents.instance_by_credential(connection, credential_hash)
            if known is not None:
                found, enrolled = _again(connection, known, request, now_us), False
            elif vouched is not None:
                found, enrolled = _enroll(connection, credential_hash, vouched, request, now_us), True
            else:
                raise auth.unknown()
            return found, enrolled, agents.center_id(connection)

        known = None if vouched is not None else self._authority.instance(credential)
        done = None
        if known is not None:
            beside = partial(_beside_others, known=known, request=request, now_us=now_us)
            done = self._writer.submit(beside, agent=known.agent_key)
        found, enrolled, center_id = done or self._writer.submit(work)
        if found.refusal is not None:  # raised out here, so that what was noted of the claim stays
            raise found.refusal
        agent_id = found.agent_id
        _log.info(
            "%s %s on %s%s",
            "enrolled" if enrolled else "registered",
            agent_id,
            printable(request.facts.hostname),
            "" if agent_id == request.agent_id else f", kept apart from {request.agent_id}",
        )
        return Registered(
            {
                "agent_id": agent_id,
                "instance_id": request.instance_id,
                "center_id": center_id,
                "server_time": format_time(request.received_us),
            },
            enrolled,
        )

    def goodbye(self, instance: Instance, body: Any) -> None:
        """Note that the agent stops on purpose. Raises Refused and DatabaseUnavailable."""
        try:
            self._contract.check("Goodbye", body)
            check_text(body)
            _check_time(body["sent_at"])
        except Mismatch as exc:
            raise invalid_body(exc) from None
        if body["instance_id"] != instance.instance_id:
            raise auth.not_yours()
        now_us = self._steady.now_us()
        self._writer.submit(
            lambda connection: agents.said_goodbye(connection, instance, body["run_id"], now_us)
        )
        _log.info("goodbye from %s", instance.agent_id)

    def _request(self, body: Any) -> _Request:
        try:
            self._contract.check("Registration", body)
            check_text(body)
            _check_time(body["sent_at"])
        except Mismatch as exc:
            raise invalid_body(exc) from None
        host = {key: value for key, value in body["host"].items() if key in self._contract.host_properties}
        return _Request(
            agent_id=body["agent_id"],
            instance_id=body["instance_id"],
            place=body.get("place"),
            received_us=self._clock.now_us(),
            facts=Facts(
                hostname=host["hostname"],
                agent_version=body["agent_version"],
                host=host,
                labels=body.get("labels", {}),
                interval_s=float(body["interval_s"]),
                run_id=body["run_id"],
                boot_id=body["boot_id"],
            ),
        )


def _check_time(text: str) -> None:
    try:
        parse_time(text)
    except ValueError:
        raise Mismatch(("sent_at",), "must be a real time") from None


def kept_apart_id(agent_id: str, instance_id: str) -> str:
    """The id of an instance whose agent id is in use by another host."""
    return "agent-" + hashlib.sha256((agent_id + instance_id).encode()).hexdigest()[:16]


def _beside_others(
    connection: Connection, known: Instance, request: _Request, now_us: int
) -> tuple[_Place, bool, str] | None:
    """Register a known credential that is in use; None where more than the rows of its agent is concerned."""
    present = agents.instance_locked(connection, known.instance_id)
    if present is None or present.superseded or present.credential_hash != known.credential_hash:
        return None
    return _again(connection, present, request, now_us), False, agents.center_id(connection)


def _again(connection: Connection, known: Instance, request: _Request, now_us: int) -> _Place:
    """Register a known credential."""
    if known.revoked:
        raise auth.revoked()
    if known.instance_id != request.instance_id or request.agent_id not in (known.agent_id, known.claimed_id):
        raise auth.not_yours()
    run_id = request.facts.run_id
    if known.superseded:
        found = _place(connection, known.claimed_id, request, now_us)
        if found.refusal is not None:
            return found
    else:
        found = _Place(known.agent_id, known.agent_key)
        verdict = identity.claim(connection, known, run_id, request.place, now_us)
        if verdict is Claim.IN_DOUBT:
            return _Place(known.agent_id, known.agent_key, identity.in_doubt(known, now_us))
        if verdict is Claim.CLONED:
            return _Place(known.agent_id, known.agent_key, identity.is_cloned())
        agents.update_agent(connection, found.key, request.facts, now_us)
    agents.registered_again(connection, known.instance_id, found.key, run_id, now_us)
    runs.accepted(connection, run_id, known.instance_id, request.place, now_us)
    return found


def _enroll(
    connection: Connection, credential_hash: bytes, vouched: auth.Vouched, request: _Request, now_us: int
) -> _Place:
    """Enroll a new credential."""
    if agents.instance_exists(connection, request.instance_id):
        raise Refused(
            403,
            "not-your-agent",
            "This instance is enrolled with another credential.",
            "Remove the agent's identity file, so that it makes a new one.",
        )
    found = _place(connection, request.agent_id, request, now_us)
    if found.refusal is not None:
        return found
    run_id = request.facts.run_id
    agents.add_instance(
        connection, request.instance_id, found.key, request.agent_id, credential_hash, run_id, now_us
    )
    runs.accepted(connection, run_id, request.instance_id, request.place, now_us)
    if vouched.token_hash is not None:
        given = enrollment.use(connection, vouched.token_hash, request.received_us)
        if given is None:  # its last use went to another agent a moment ago: nothing of this one stays
            raise auth.enrollment_invalid()
        if given:
            agents.give_labels(connection, found.key, given, request.facts.labels)
    return found


def _place(connection: Connection, agent_id: str, request: _Request, now_us: int) -> _Place:
    """The agent that an instance is to speak for: a new one, the one it claims, or one kept apart."""
    key = agents.agent_key(connection, agent_id)
    if key is None:
        return _Place(agent_id, agents.add_agent(connection, agent_id, request.facts, now_us))
    if agents.is_revoked(connection, key):
        raise auth.revoked()
    others = [
        item for item in agents.instances_of(connection, key) if item.instance_id != request.instance_id
    ]
    holder = next((item for item in others if not item.superseded and item.live(now_us)), None)
    if holder is not None:
        if request.place is not None:
            verdict = identity.claim(connection, holder, request.facts.run_id, request.place, now_us)
        else:  # nothing to tell a restart by: whoever is there stays
            verdict = Claim.CLONED
        if verdict is Claim.IN_DOUBT:
            return _Place(agent_id, key, identity.in_doubt(holder, now_us))
        if verdict is Claim.CLONED:
            return _apart(connection, agent_id, key, holder, request, now_us)
    if others:
        agents.supersede_others(connection, key, request.instance_id, now_us)
        event = {
            "type": "reinstalled",
            "message": "A new instance of the agent took over its id and history.",
            "instance_id": request.instance_id,
            "previous_instance_id": others[0].instance_id,
        }
        records.append_own_event(connection, key, event, request.received_us)
    agents.update_agent(connection, key, request.facts, now_us)
    return _Place(agent_id, key)


def _apart(
    connection: Connection, agent_id: str, key: int, holder: Instance, request: _Request, now_us: int
) -> _Place:
    """An agent of its own for an instance whose id another live host has."""
    apart = kept_apart_id(agent_id, request.instance_id)
    _open_duplicate(connection, agent_id, key, apart, request, holder)
    apart_key = agents.agent_key(connection, apart)
    if apart_key is None:
        apart_key = agents.add_agent(connection, apart, request.facts, now_us)
    else:
        agents.update_agent(connection, apart_key, request.facts, now_us)
    return _Place(apart, apart_key)


def _open_duplicate(
    connection: Connection,
    agent_id: str,
    key: int,
    apart: str,
    request: _Request,
    older: Instance,
) -> None:
    threat = {
        "type": "duplicate_identity",
        "severity": "medium",
        "confidence": 1.0,
        "fingerprint": f"duplicate_identity:{apart}",
        "state": "open",
        "title": "Two hosts have one identity",
        "summary": f"Two live hosts claim to be {agent_id}; the newer one is kept apart as {apart}.",
        "why": "One was probably copied from the other. Both are watched, under two names.",
        "next": "On the copy: rm /etc/machine-id && systemd-machine-id-setup. Its agent notices and starts again.",
        "evidence": {
            "kept_apart_as": apart,
            "hostname": request.facts.hostname,
            "instance_id": request.instance_id,
            "older_instance_id": older.instance_id,
        },
    }
    threats.apply(connection, key, request.received_us, threat)
