"""What agents send: registrations, reports, goodbyes.

Who asks is settled before the body is read, so that strangers make the center do no work. A request has one of
the places of `admission` while it is worked on, and none while its body arrives: whoever sends slowly, or never to
the end, keeps nobody else out.
"""

from __future__ import annotations

import json

from flask import Blueprint, Response, request

from nerve_center.api.body import inflate, is_packed, read, unpack
from nerve_center.api.context import center, credential, json_response
from nerve_center.api.direct import settled
from nerve_center.errors import Refused

blueprint = Blueprint("delivery", __name__, url_prefix="/api/v1/agents")


@blueprint.before_request
def certified() -> None:
    """Where agents need a certificate, let none through without. Raises Refused (403 `client-certificate-required`)."""
    if center().config.tls.client_ca is None:
        return
    ask = getattr(request.environ.get("gunicorn.socket"), "getpeercert", None)
    if ask is None or not ask():  # the handshake has proved whatever certificate there is
        raise Refused(
            403,
            "client-certificate-required",
            "An agent needs a client certificate here.",
            "Set client_certificate and client_key in [nerve_center] of its agent.toml.",
        )


@blueprint.post("/register")
def register() -> Response:
    """201 when the credential was enrolled, 200 when it was known."""
    here, token = center(), credential()
    with here.admission:
        vouched = here.registrar.admit(token, request.headers.get("DIO-Enrollment-Token"))
    with here.budget.share() as share:
        raw = read(here, share)
        with here.admission:
            result = here.registrar.register(token, vouched, unpack(here, share, raw))
    return json_response(json.dumps(result.body), 201 if result.enrolled else 200)


@blueprint.post("/<agent_id>/reports")
def report(agent_id: str) -> Response:
    """200 with the new mark once it is committed, 409 with the mark where the report does not fit.

    See `direct`, which most reports meet before.
    """
    settled(request.environ)
    here = center()
    token = credential()
    with here.admission:
        instance = here.authority.remembered(token, agent_id)
    with here.budget.share() as share:
        raw = read(here, share)
        with here.admission:
            try:
                acknowledgement = here.ingest.report(instance, inflate(here, share, raw, is_packed()))
            except Refused as refusal:
                if refusal.status in (401, 403):
                    here.authority.forget(token)
                raise
    return json_response(json.dumps(acknowledgement))


@blueprint.post("/<agent_id>/goodbye")
def goodbye(agent_id: str) -> Response:
    """204 once it is noted."""
    here = center()
    token = credential()
    with here.admission:
        instance = here.authority.reporter(token, agent_id)
    with here.budget.share() as share:
        raw = read(here, share)
        with here.admission:
            here.registrar.goodbye(instance, unpack(here, share, raw))
    return Response(status=204)
