"""`GET /health`: the agents' gate. Anybody may ask; the answer is the probe's and costs nothing."""

from __future__ import annotations

import json

from flask import Blueprint, Response

from nerve_center.api.context import center

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> Response:
    """200 while the database accepts writes, else 503 with a `reason`."""
    body = center().probe.health()
    status = 200 if body["status"] == "healthy" else 503
    return Response(json.dumps(body), status=status, mimetype="application/json")
