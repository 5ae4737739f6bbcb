"""The least that an ingest endpoint could do: unpack a report, parse its JSON, answer. No promise is kept.

It stands beside the nerve center in `benchmarks.ingest`, under the same gunicorn with the same settings.
"""

from __future__ import annotations

import gzip
import json

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/health")
def health() -> Response:
    """Alive."""
    return Response('{"status": "healthy"}', mimetype="application/json")


@app.post("/api/v1/agents/<agent_id>/reports")
def report(agent_id: str) -> Response:
    """Acknowledge without having kept anything."""
    last = json.loads(gzip.decompress(request.get_data()))["records"][-1]
    body = {"mark": {"seq": last["seq"], "tag": last["tag"]}, "agent": agent_id}
    return Response(json.dumps(body), mimetype="application/json")
