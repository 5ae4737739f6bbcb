"""What the center itself finds: hosts that fell silent, and the same finding on many hosts.

Both become threats like those of agents: they are shown, acknowledged, silenced and notified in the same way.

    offline           one host has been silent for `offline_after_s` beyond being offline; a reboot is quicker
    center_isolated   half of all hosts (3 at least) are silent at once: the center's own network comes first to mind.
                      One threat with the list; hosts do not get one each until it is settled
    outbreak          a type and subject on `outbreak_hosts` hosts, opened within 10 minutes; it is over when less than
                      half as many are left
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection, Row

from nerve_center.alerts.plans import Plans
from nerve_center.alerts.routes import Plan
from nerve_center.keeper.task import Desk, Task
from nerve_center.store import fleet, states, threat_reading, threats
from nerve_center.store.threat_reading import Filter, Threat
from nerve_center.store.threats import ACTIVE, OFFLINE, OUTBREAK, SEVERITIES

EVERY_S = 5.0
ISOLATED = "center_isolated"
_LEAST_HOSTS = 3
_MOST_LISTED = 200
_MOST_THREATS = 5000
_TOGETHER_US = 600 * 1_000_000
_LEAST_RANK = 2
_BATCH = 10
_PAUSE_S = 0.02
_Work = Callable[[Connection], None]


def task(plans: Plans) -> Task:
    """The duty, by the plan in force."""
    return Task("watch", EVERY_S, lambda desk: step(desk, plans.current()))


def step(desk: Desk, plan: Plan) -> str:
    """Look once; how many findings opened or cleared."""
    now_us, heard_us = desk.clock.now_us(), desk.steady.now_us()
    with desk.reading() as connection:
        if not states.is_listening(connection, heard_us):
            return "the nerve center is not listening; nobody is missed"
        found = _silence(connection, plan, now_us, heard_us) + _outbreaks(connection, plan, now_us)
    for start in range(0, len(found), _BATCH):
        desk.write(partial(_do, found[start : start + _BATCH]))
        desk.pause(_PAUSE_S)
    return f"{len(found)} findings" if found else ""


def _do(some: Sequence[_Work], connection: Connection) -> None:
    for work in some:
        work(connection)


def _silence(connection: Connection, plan: Plan, now_us: int, heard_us: int) -> list[_Work]:
    known = threat_reading.hosts_of_open(connection, OFFLINE, f"center:{OFFLINE}")
    isolated = threat_reading.open_of_type(connection, ISOLATED, f"center:{ISOLATED}")
    gone = fleet.offline(connection, heard_us, heard_us - round(plan.offline_after_s * 1e6))
    untold = [row for row in gone if row.key not in known]
    work: list[_Work] = []
    still_gone = {row.key for row in gone}
    for key, hostname in known.items():
        if key not in still_gone:
            work.append(_own(key, now_us, {**_offline(hostname), "state": "cleared"}))
    if not untold and not isolated:
        return work
    hosts = fleet.counts(connection, heard_us)
    watched = hosts["active"] + hosts["warning"] + hosts["offline"]
    if len(untold) >= max(_LEAST_HOSTS, watched / 2):
        if any(row.before for row in gone) and (not isolated or isolated[0].more.get("count") != len(untold)):
            work.append(_own(None, now_us, _isolated(untold, watched)))
        return work
    if isolated:
        work.append(_own(None, now_us, {**_isolated(untold, watched), "state": "cleared"}))
    for row in untold:
        if row.before:
            work.append(_own(row.key, now_us, _offline(row.hostname)))
    return work


def _offline(hostname: str) -> dict[str, Any]:
    return {
        "type": OFFLINE,
        "severity": "high",
        "confidence": 1.0,
        "fingerprint": f"center:{OFFLINE}",
        "state": "open",
        "title": "Host does not report",
        "summary": f"Nothing has been heard of {hostname}, and it did not say goodbye.",
        "why": "It may be down, cut off, or its agent may have been ended by somebody.",
        "next": "Is it reachable? Then: systemctl status dio-agent on it.",
    }


def _isolated(silent: Sequence[Row[Any]], watched: int) -> dict[str, Any]:
    return {
        "type": ISOLATED,
        "severity": "critical",
        "confidence": 0.8,
        "fingerprint": f"center:{ISOLATED}",
        "state": "open",
        "title": "Many hosts fell silent at once",
        "summary": f"{len(silent)} of {watched} hosts do not report: "
        + ", ".join(row.hostname for row in silent[:20])
        + (" …" if len(silent) > 20 else ""),
        "why": "One cause is likelier than many: a switch, a firewall, or this nerve center's own network.",
        "next": "Look at the nerve center's own network first, then at what these hosts have in common.",
        "count": len(silent),
        "evidence": {"hosts": _listed([(row.id, row.hostname) for row in silent]), "watched": watched},
    }


def _outbreaks(connection: Connection, plan: Plan, now_us: int) -> list[_Work]:
    groups: dict[tuple[str, str], list[Threat]] = {}
    wanted = Filter(statuses=ACTIVE, but=OFFLINE)
    found, _ = threat_reading.page(connection, wanted, _MOST_THREATS, worst_first=True)
    known = {threat.fingerprint: threat for threat in found if threat.type == OUTBREAK}
    for threat in found:
        if threat.agent_key is not None and threat.rank >= _LEAST_RANK:
            groups.setdefault((threat.type, threat.subject), []).append(threat)
    work: list[_Work] = []
    for (type_, subject), group in groups.items():
        fingerprint = _fingerprint(type_, subject)
        before = known.pop(fingerprint, None)
        hosts = len({threat.agent_key for threat in group})
        if before is None and not _together(group, plan.outbreak_hosts):
            continue
        if before is not None and hosts < plan.outbreak_hosts / 2:
            work.append(_own(None, now_us, _over(before)))
        elif before is None or before.more.get("count") != hosts:
            work.append(_own(None, now_us, _outbreak(fingerprint, group)))
    for threat in known.values():
        work.append(_own(None, now_us, _over(threat)))
    return work


def _together(group: Sequence[Threat], hosts: int) -> bool:
    """Whether it opened on so many hosts within minutes."""
    times = sorted({threat.agent_key: threat.opened_us for threat in group}.values())
    return any(
        times[index + hosts - 1] - times[index] <= _TOGETHER_US for index in range(len(times) - hosts + 1)
    )


def _fingerprint(type_: str, subject: str) -> str:
    return f"center:{OUTBREAK}:{type_}:{hashlib.sha256(subject.encode()).hexdigest()[:16]}"


def _outbreak(fingerprint: str, group: Sequence[Threat]) -> dict[str, Any]:
    group = sorted(group, key=lambda threat: (threat.opened_us, threat.hostname or ""))
    first = group[0]
    hosts = {threat.agent_id or "": threat.hostname or "" for threat in group}
    rank = max(3, *(threat.rank for threat in group))
    return {
        "type": OUTBREAK,
        "severity": SEVERITIES[rank - 1],
        "confidence": 0.9,
        "fingerprint": fingerprint,
        "state": "open",
        "title": f"Outbreak: {first.title}"[:256],
        "summary": f"The same finding on {len(hosts)} hosts: "
        + ", ".join(list(hosts.values())[:20])
        + (" …" if len(hosts) > 20 else "")
        + (f". {first.summary[:1000]}" if first.summary else ""),
        "why": "The same on many hosts within minutes has one cause: a rollout, something they share, or an intruder "
        "who moves on.",
        "next": "Was it rolled out on purpose? If not, start with the host that had it first: "
        + (first.hostname or ""),
        "count": len(hosts),
        "of_type": first.type,
        "of_subject": first.subject,
        "evidence": {
            "hosts": _listed(list(hosts.items())),
            "first": first.hostname,
            "first_threat_id": first.key,
        },
    }


def _over(threat: Threat) -> dict[str, Any]:
    """An outbreak of which hardly a host is left; what was known of it while it lasted stays."""
    return {
        "type": threat.type,
        "severity": threat.severity,
        "fingerprint": threat.fingerprint,
        "state": "cleared",
        "title": threat.title,
        "summary": threat.summary,
    }


def _listed(hosts: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"agent_id": id_, "hostname": hostname} for id_, hostname in hosts[:_MOST_LISTED]]


def _own(agent_key: int | None, now_us: int, data: dict[str, Any]) -> _Work:
    return lambda connection: threats.apply_own(connection, agent_key, now_us, data)
