"""`GET /metrics` for Prometheus: the center itself, and with a token the newest figures of every host.

Without a token it answers to loopback only, where a proxy in front of the center does not stand between: one that
forwards says so in a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product

from flask import Blueprint, Response, request

from nerve_center import __version__, exposition
from nerve_center.api.context import center, credential, query
from nerve_center.exposition import Figure
from nerve_center.store import agents, fleet, outbox, place, threat_reading
from nerve_center.store.engine import reading
from nerve_center.store.threats import SEVERITIES, STATUSES

blueprint = Blueprint("metrics", __name__)

_MOST_HOSTS = 20_000
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


@blueprint.get("/metrics")
def metrics() -> Response:
    """The text, of the center only where no token came with the request."""
    here = center()
    with_fleet = "Authorization" in request.headers or not _at_loopback()
    if with_fleet:
        here.authority.program(credential(), "metrics")
    query({})
    text = exposition.text(_figures(with_fleet))
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def _figures(with_fleet: bool) -> Iterator[Figure]:
    here = center()
    now_us = here.steady.now_us()
    with reading(here.engine) as connection:
        hosts = fleet.counts(connection, now_us)
        # Those that there are none of are told as well: a series that comes and goes has no 0 to show or to alert on.
        threats = dict.fromkeys(product(STATUSES, SEVERITIES), 0) | threat_reading.counts(connection)
        records = agents.record_counts(connection)
        letters = outbox.counts(connection)
        rows = fleet.page(connection, fleet.Wanted(), 0, _MOST_HOSTS, now_us) if with_fleet else []
        active = threat_reading.active_by_agent(connection) if with_fleet else {}
        size = place.size(connection, here.config.database.place)
    yield from exposition.of_center(__version__, here.probe.health(), hosts, threats, records, letters, size)
    yield from exposition.of_fleet(rows, active, here.steady.shown(now_us) - now_us)


def _at_loopback() -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
