"""Threats: a list to work through, and one with all that is known and what may be done about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import redirect, request, url_for
from sqlalchemy.engine import Connection
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import web
from nerve_center.dashboard import evidence
from nerve_center.dashboard.site import blueprint, me, render, requires
from nerve_center.errors import Refused
from nerve_center.store import audit, silences, threat_log, threat_reading, tolerances, triage
from nerve_center.store.engine import reading
from nerve_center.store.threat_reading import Filter, Threat
from nerve_center.store.threats import SEVERITIES, STATUSES

PAGE = 50
_MOST_COMMENT = 4000
_TOLD = ("why", "next", "technique", "first_seen", "last_seen", "count", "subject", "reason")
_ACTS: dict[str, Callable[[Connection, int, triage.Actor, int, str], None]] = {
    "acknowledge": triage.acknowledge,
    "resolve": triage.resolve,
    "reopen": triage.reopen,
    "comment": triage.comment,
}


@blueprint.get("/threats")
@requires("viewer")
def threats() -> str:
    """A page of threats, the worst first; open and acknowledged ones unless others are asked for."""
    here = web.center()
    status, severity = request.args.get("state", "active"), request.args.get("severity", "")
    host, text = request.args.get("host", "").strip()[:255], request.args.get("q", "").strip()[:100]
    if status in STATUSES:
        statuses: tuple[str, ...] = (status,)
    else:
        status = "all" if status == "all" else "active"
        statuses = () if status == "all" else ("open", "acknowledged")
    wanted = Filter(
        statuses=statuses,
        severities=(severity,) if severity in SEVERITIES else (),
        host=host or None,
        text=text or None,
    )
    after = _cursor(request.args.get("after", ""))
    with reading(here.engine) as connection:
        found, following = threat_reading.page(connection, wanted, PAGE, after, worst_first=True)
        counts = threat_reading.counts(connection)
        quiet = silences.in_force(connection, here.clock.now_us())
    by_status = {name: sum(n for (of, _), n in counts.items() if of == name) for name in STATUSES}
    return render(
        "threats.html",
        threats=[(item, bool(_covering(item, quiet))) for item in found],
        following=None if following is None else ".".join(map(str, following)),
        first_page=after is None,
        by_status=by_status,
        status=status,
        severity=severity if severity in SEVERITIES else "",
        severities=SEVERITIES[::-1],
        statuses=STATUSES,
        host=host,
        text=text,
        link=_link,
    )


@blueprint.get("/threats/<int:key>")
@requires("viewer")
def threat(key: int) -> str:
    """All of one threat."""
    here = web.center()
    with reading(here.engine) as connection:
        found = threat_reading.get(connection, key)
        if found is None:
            raise triage.unknown()
        lines = threat_log.of_threat(connection, key)
        quiet = silences.in_force(connection, here.clock.now_us())
    more = dict(found.more)
    shown = dict(found.evidence or {})
    # Of the center's own alone: what an agent says cannot lead to other hosts.
    hosts = shown.pop("hosts", []) if found.agent_key is None else []
    told = {name: more.pop(name, None) for name in _TOLD}
    return render(
        "threat.html",
        threat=found,
        told=told,
        hosts=hosts,
        found_first=shown.pop("first", None) if hosts else None,
        first_threat=shown.pop("first_threat_id", None) if hosts else None,
        evidence=evidence.table(shown),
        more=evidence.table(more),
        lines=lines[::-1],
        silences=_covering(found, quiet),
        spans=silences.SPANS,
        normal_spans=tolerances.SPANS,
        tolerable=found.agent_id is not None and found.type not in tolerances.OWN_TYPES,
        most_comment=_MOST_COMMENT,
    )


@blueprint.post("/threats/<int:key>/<any(acknowledge, resolve, reopen, comment):act>")
@requires("operator")
def act_on_threat(key: int, act: str) -> AnyResponse:
    """Take it on, settle it, take that back, or say something."""
    text = request.form.get("comment", "").strip()
    if len(text) > _MOST_COMMENT:
        raise Refused(
            422, "bad-parameter", "The comment is too long.", f"At most {_MOST_COMMENT} characters."
        )
    if act == "comment" and not text:
        raise Refused(422, "bad-parameter", "The comment is empty.", "Go back and write what is to be said.")
    return _do(
        key, act, text, lambda connection, actor, now_us: _ACTS[act](connection, key, actor, now_us, text)
    )


@blueprint.post("/threats/<int:key>/silence")
@requires("operator")
def silence_threat(key: int) -> AnyResponse:
    """Tell nobody about it for a while."""
    scope, span = request.form.get("scope", "host"), request.form.get("span", "")
    reason = request.form.get("reason", "").strip()[:_MOST_COMMENT]
    until_cleared = span == "cleared"
    if scope not in ("host", "fleet") or not (until_cleared or span in {str(s) for _, s in silences.SPANS}):
        raise Refused(
            422,
            "bad-parameter",
            "The form does not fit.",
            "Go back, load the page again and send it from there.",
        )
    if until_cleared and scope != "host":
        raise Refused(
            422,
            "bad-parameter",
            "This does not go together.",
            "Only on one host can a silence last until the threat clears.",
        )
    until_us = None if until_cleared else web.center().clock.now_us() + int(span) * 1_000_000
    quiet = triage.Quiet(scope=scope, until_us=until_us, until_cleared=until_cleared, reason=reason)

    def work(connection: Connection, actor: triage.Actor, now_us: int) -> None:
        triage.silence(connection, key, actor, now_us, quiet)

    return _do(key, "silence", reason, work)


@blueprint.post("/threats/<int:key>/silences/<int:silence>/end")
@requires("operator")
def end_silence(key: int, silence: int) -> AnyResponse:
    """Tell people again."""

    def work(connection: Connection, actor: triage.Actor, now_us: int) -> None:
        triage.end_silence(connection, silence, actor, now_us)

    return _do(key, "end-silence", "", work)


def _do(key: int, act: str, text: str, work: Callable[[Connection, triage.Actor, int], None]) -> AnyResponse:
    """Do it in one transaction with its line in the audit log, then show the threat again."""
    here, person = web.center(), me()
    now_us = here.clock.now_us()

    def both(connection: Connection) -> None:
        work(connection, triage.Actor("user", person.name), now_us)
        audit.note(
            connection, now_us, person.actor, f"threat.{act}", str(key), {"text": text[:200]} if text else {}
        )

    here.writer.submit(both)
    return redirect(url_for("dashboard.threat", key=key), 303)


def _covering(item: Threat, among: list[silences.Silence]) -> list[silences.Silence]:
    return silences.covering(among, item.agent_key, item.fingerprint, item.type, item.labels)


def _cursor(text: str) -> tuple[int, int, int] | None:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])


def _link(**changes: Any) -> str:
    words: dict[str, Any] = {name: request.args.get(name) for name in ("state", "severity", "host", "q")}
    words.update(changes)
    return url_for("dashboard.threats", **{name: value for name, value in words.items() if value})
