"""`GET /api/v1/openapi.json`: the contract itself."""

from __future__ import annotations

from flask import Blueprint, Response

from nerve_center.api.context import center, json_response

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/api/v1/openapi.json")
def document() -> Response:
    """The contract as JSON."""
    return json_response(center().contract.json)
