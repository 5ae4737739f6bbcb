"""The commands that bring a new host under watch, with a token that ends by itself."""

from __future__ import annotations

import ipaddress
import json
import shlex
from typing import Any
from urllib.parse import urlsplit

from flask import redirect, render_template, request, url_for
from sqlalchemy.engine import Row
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import web
from nerve_center.clock import format_time
from nerve_center.dashboard.site import blueprint, me, requires
from nerve_center.errors import Refused

SPANS = (("1 hour", 3600), ("1 day", 86400), ("1 week", 7 * 86400), ("30 days", 30 * 86400))
USES = (("one host", 1), ("10 hosts", 10), ("100 hosts", 100), ("any number of hosts", 0))
_MOST_LABELS = 20
_MOST_TOKENS = 100


@blueprint.get("/enroll")
@requires("operator")
def enroll() -> str:
    """What to choose before a token is made."""
    return _page()


@blueprint.post("/enroll")
@requires("operator")
def make_token() -> str:
    """A token and the commands with it. They are shown this once: only a hash is kept."""
    span, uses = request.form.get("span", ""), request.form.get("uses", "")
    if span not in {str(value) for _, value in SPANS} or uses not in {str(value) for _, value in USES}:
        raise Refused(
            422, "bad-parameter", "The form does not fit.", "Load the page again and send it from there."
        )
    labels = _labels(request.form.get("labels", ""))
    token, until_us = web.center().enrolling.make(me().actor, int(span), int(uses) or None, labels)
    return _page(token, until_us)


@blueprint.post("/enroll/<name>/withdraw")
@requires("operator")
def withdraw_token(name: str) -> AnyResponse:
    """End a token before its time."""
    web.center().enrolling.withdraw(me().actor, name)
    return redirect(url_for("dashboard.enroll"), 303)


def _page(token: str | None = None, until_us: int | None = None) -> str:
    now_us = web.center().clock.now_us()
    rows = [row for row in web.center().enrolling.tokens() if _is_good(row, now_us)]
    rows.sort(key=lambda row: -int(row.created_us))
    url = request.url_root.rstrip("/")
    loopback = _is_loopback(urlsplit(url).hostname or "")
    plain = url.startswith("http://") and not loopback
    command = ["sudo", "dioctl", "enroll", url, *(["--allow-plain-http"] if plain else [])]
    return render_template(
        "enroll.html",
        tokens=[(row, json.loads(row.labels)) for row in rows[:_MOST_TOKENS]],
        more=max(0, len(rows) - _MOST_TOKENS),
        token=token,
        until_us=until_us,
        until=None if until_us is None else format_time(until_us // 1_000_000 * 1_000_000),
        command=shlex.join(command),
        url=url,
        loopback=loopback,
        plain=plain,
        spans=SPANS,
        uses=USES,
    )


def _is_good(row: Row[Any], now_us: int) -> bool:
    """Whether a host can still enroll with it."""
    return bool((row.expires_us is None or row.expires_us > now_us) and row.uses_left != 0)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _labels(text: str) -> dict[str, str]:
    """Labels, one a line as NAME=TEXT. Raises Refused (422)."""
    found: dict[str, str] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, equals, value = (part.strip() for part in line.partition("="))
        fits = equals and 0 < len(name) <= 64 and len(value) <= 256 and line.isprintable()
        if not fits or len(found) >= _MOST_LABELS:
            raise Refused(
                422,
                "bad-parameter",
                "A label does not fit.",
                f"One a line, NAME=TEXT, at most {_MOST_LABELS} of them.",
            )
        found[name] = value
    return found
