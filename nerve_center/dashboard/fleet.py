"""The front page: every host at a glance, and what needs attention first.

Its address holds all that it shows: `state`, `label` (`NAME=TEXT`, `NAME` alone, or `!NAME` for the hosts without
it), `q`, `group` (the name of a label to gather hosts by), `sort` and `page`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import request, url_for

from nerve_center import web
from nerve_center.dashboard.site import blueprint, render, requires
from nerve_center.store import fleet as store
from nerve_center.store import labels, latest, silences, threat_reading
from nerve_center.store.engine import reading
from nerve_center.store.threats import SEVERITIES

PAGE = 50
_MOST_PAGES = 2000
_ATTENTION = 5
_MOST_LABELS = 200
_MOST_NAMES = 50
_MOST_GROUPS = 60
_OPEN = threat_reading.Filter(statuses=("open",))
_COLUMNS = (
    ("hostname", "Host"),
    ("state", "State"),
    ("cpu", "CPU"),
    ("memory", "Memory"),
    ("disk", "Disk"),
    (None, "Last hour"),
    ("seen", "Last heard"),
)
_DESCENDING_FIRST = ("cpu", "memory", "disk", "seen")
_WORDS = ("state", "label", "q", "group", "sort", "page")


@dataclass(frozen=True)
class Host:
    """A line of the table."""

    id: str
    hostname: str
    state: str
    labels: list[tuple[str, str]]
    threats: tuple[int, str] | None
    """How many are open or acknowledged, and the worst severity."""
    cpu_percent: float | None
    memory_percent: float | None
    disk_percent: float | None
    disk_mount: str | None
    policy_refused: bool
    silenced: bool
    course: list[tuple[int | None, int | None] | None]
    seen_us: int | None


@blueprint.get("/")
@requires("viewer")
def fleet() -> str:
    """Counts, attention, groups, and one page of the table; a dozen queries, however many hosts there are."""
    here = web.center()
    now_us = here.steady.now_us()
    wanted, label = _wanted()
    page, by = _page(), request.args.get("group", "")[:256]
    with reading(here.engine) as connection:
        counts = store.counts(connection, now_us)
        total = sum(counts.values())
        filtered = bool(wanted.state or wanted.label or wanted.unlabelled or wanted.text)
        found = store.count(connection, wanted, now_us) if filtered else total
        pages = max(1, -(-found // PAGE))
        page = min(page, pages)
        rows = store.page(connection, wanted, (page - 1) * PAGE, PAGE, now_us)
        threats = threat_reading.active_of_agents(connection, [row.key for row in rows])
        silent = store.silent(connection, now_us, _ATTENTION)
        worst, _ = threat_reading.page(connection, _OPEN, _ATTENTION, worst_first=True)
        known = labels.known(connection, _MOST_LABELS)
        names = labels.names(connection, _MOST_NAMES)
        groups = store.groups(connection, wanted, by, now_us) if by else []
        quiet = silences.in_force(connection, here.clock.now_us())
    shown = here.steady.shown
    return render(
        "fleet.html",
        now_us=shown(now_us),
        counts=counts,
        total=total,
        found=found,
        filtered=filtered,
        page=page,
        most=pages,
        first=(page - 1) * PAGE + 1,
        last=(page - 1) * PAGE + len(rows),
        hosts=[_host(row, threats.get(row.key), quiet, shown) for row in rows],
        silent=[{**row._mapping, "seen_us": shown(row.last_report_us)} for row in silent],
        threats=worst,
        labels=known,
        label=label,
        label_names={f"{item.name}={item.value}" for item in known},
        by=by,
        names=names if not by or by in names else [*names, by],
        groups=groups[:_MOST_GROUPS],
        more_groups=max(0, len(groups) - _MOST_GROUPS),
        severity=("", *SEVERITIES),
        wanted=wanted,
        sort=("-" if wanted.descending else "") + wanted.sort,
        columns=_COLUMNS,
        link=_link,
        flipped=lambda key: _flipped(key, wanted),
    )


def _wanted() -> tuple[store.Wanted, str]:
    """What the address asks for; what does not fit there is as if it were absent."""
    state, sort = request.args.get("state", ""), request.args.get("sort", "")
    label = request.args.get("label", "")[:600]
    without, (name, equals, value) = label.startswith("!"), label.removeprefix("!").partition("=")
    descending, key = sort.startswith("-"), sort.removeprefix("-")
    return (
        store.Wanted(
            state=state if state in store.STATES else None,
            label=(name, value if equals else None) if name and not without else None,
            unlabelled=label[1:] if without and len(label) > 1 else None,
            text=request.args.get("q", "").strip()[:100] or None,
            sort=key if key in store.SORTS else "state",
            descending=descending and key in store.SORTS,
        ),
        label,
    )


def _page() -> int:
    text = request.args.get("page", "1")
    usable = text.isascii() and text.isdigit() and len(text) <= 6
    return min(max(int(text), 1), _MOST_PAGES) if usable else 1


def _flipped(key: str, wanted: store.Wanted) -> str:
    """What a click on a column's head asks for."""
    descending = not wanted.descending if key == wanted.sort else key in _DESCENDING_FIRST
    return ("-" if descending else "") + key


def _link(**changes: Any) -> str:
    """This page with other words in its address."""
    words: dict[str, Any] = {name: request.args.get(name) for name in _WORDS}
    words.update(changes)
    return url_for("dashboard.fleet", **{name: value for name, value in words.items() if value})


def _host(
    row: Any, threats: tuple[int, int] | None, quiet: list[silences.Silence], shown: Callable[[int], int]
) -> Host:
    named = json.loads(row.labels)
    return Host(
        id=row.id,
        hostname=row.hostname,
        state=row.state,
        labels=sorted(named.items()),
        threats=None if threats is None else (threats[0], SEVERITIES[threats[1] - 1]),
        cpu_percent=row.cpu_percent,
        memory_percent=row.memory_percent,
        disk_percent=row.disk_percent,
        disk_mount=row.disk_mount,
        policy_refused=row.policy is not None and "refused" in json.loads(row.policy),
        silenced=bool(silences.of_whole_host(quiet, row.key, named)),
        course=latest.course(row.course),
        seen_us=None if row.last_report_us is None else shown(row.last_report_us),
    )
