"""Silences about a whole host: whoever works on it tells the nerve center, which then tells nobody."""

from __future__ import annotations

from flask import redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import web
from nerve_center.dashboard.policies import MOST_REASON, label_of
from nerve_center.dashboard.site import blueprint, me, requires
from nerve_center.errors import Refused
from nerve_center.store import silences, triage


@blueprint.post("/hosts/<agent_id>/silence")
@requires("operator")
def silence_host(agent_id: str) -> AnyResponse:
    """Tell nobody of anything about this host, or about all with one of its labels, for a while."""
    here, form = web.center(), request.form
    where, span = form.get("where", "host"), form.get("span", "")
    if span not in {str(seconds) for _, seconds in silences.SPANS}:
        raise Refused(
            422,
            "bad-parameter",
            "The form does not fit.",
            "Load the page again and send the form from there.",
        )
    now_us, actor = here.clock.now_us(), triage.Actor("user", me().name)
    quiet = triage.Quiet(
        scope=where if where in ("host", "fleet") else "label",
        until_us=now_us + int(span) * 1_000_000,
        label=None if where in ("host", "fleet") else label_of(where),
        reason=form.get("reason", "").strip()[:MOST_REASON],
    )
    of_host = agent_id if quiet.scope == "host" else None
    here.writer.submit(lambda connection: triage.silence_all(connection, of_host, actor, now_us, quiet))
    return redirect(url_for("dashboard.host", agent_id=agent_id), 303)


@blueprint.post("/hosts/<agent_id>/silences/<int:silence>/end")
@requires("operator")
def end_silence_of_host(agent_id: str, silence: int) -> AnyResponse:
    """Tell people again."""
    here = web.center()
    now_us, actor = here.clock.now_us(), triage.Actor("user", me().name)
    here.writer.submit(lambda connection: triage.end_silence(connection, silence, actor, now_us))
    return redirect(url_for("dashboard.host", agent_id=agent_id), 303)
