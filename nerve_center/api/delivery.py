"""What agents send: registrations, reports, goodbyes.

Who asks is settled before the body is read, so that strangers make the center do no work.
"""

from __future__ import annotations

import json

from flask import Blueprint, Response, request

from nerve_center.api.body import read_json
from nerve_center.api.context import center, credential, json_response

blueprint = Blueprint("delivery", __name__, url_prefix="/api/v1/agents")


@blueprint.post("/register")
def register() -> Response:
    """201 when the credential was enrolled, 200 when it was known."""
    here, token = center(), credential()
    with here.admission, here.budget.share() as share:
        may_enroll = here.registrar.admit(token, request.headers.get("DIO-Enrollment-Token"))
        result = here.registrar.register(token, may_enroll, read_json(here, share))
    return json_response(json.dumps(result.body), 201 if result.enrolled else 200)


@blueprint.post("/<agent_id>/reports")
def report(agent_id: str) -> Response:
    """200 with the new mark once it is committed, 409 with the mark where the report does not fit."""
    here = center()
    token = credential()
    with here.admission, here.budget.share() as share:
        instance = here.authority.reporter(token, agent_id)
        acknowledgement = here.ingest.report(instance, read_json(here, share))
    return json_response(json.dumps(acknowledgement))


@blueprint.post("/<agent_id>/goodbye")
def goodbye(agent_id: str) -> Response:
    """204 once it is noted."""
    here = center()
    token = credential()
    with here.admission, here.budget.share() as share:
        instance = here.authority.reporter(token, agent_id)
        here.registrar.goodbye(instance, read_json(here, share))
    return Response(status=204)
