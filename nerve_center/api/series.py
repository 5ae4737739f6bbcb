"""Figures of an agent over time, for charts: one grid for all of them, gaps as null."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response

from nerve_center.api.context import bad_parameter, center, json_response, query, reader
from nerve_center.api.parameters import instant, whole
from nerve_center.clock import format_time
from nerve_center.errors import Refused
from nerve_center.figures import Chunk, short
from nerve_center.store import agents, series
from nerve_center.store.engine import reading

blueprint = Blueprint("series", __name__, url_prefix="/api/v1/agents")

_DEFAULT_S = 3600
_DEFAULT_POINTS = 300
_LONGEST_S = 20 * 366 * 86400
_MOST_NAMES = 64
_MOST_NAME_LENGTH = 160


@blueprint.get("/<agent_id>/series")
def get_series(agent_id: str) -> Response:
    """The figures of a span of time, at a resolution that fits `points`."""
    here = center()
    reader(agent_id)
    asked = query(
        {"from": instant, "to": instant, "points": whole(10, series.MOST_POINTS), "figures": _names}
    )
    now_s = here.clock.now_us() // 1_000_000
    to_s = -(-asked["to"] // 1_000_000) if "to" in asked else now_s
    from_s = asked["from"] // 1_000_000 if "from" in asked else to_s - _DEFAULT_S
    if not 0 < to_s - from_s <= _LONGEST_S:
        raise bad_parameter("from", "must be before `to`, and at most 20 years")
    with reading(here.engine) as connection:
        row = agents.by_id(connection, agent_id)
        if row is None:
            raise Refused(404, "agent-unknown", "There is no agent of this id.")
        grid = series.grid(
            connection,
            row,
            from_s,
            to_s,
            asked.get("points", _DEFAULT_POINTS),
            now_s,
            series.kept(here.config.retention),
            frozenset(asked["figures"]).__contains__ if "figures" in asked else None,
        )
    return json_response(json.dumps(document(agent_id, grid), separators=(",", ":")))


def document(agent_id: str, grid: Chunk) -> dict[str, Any]:
    """The answer: each list has one entry a step of the grid, None where nothing was sampled."""
    return {
        "agent_id": agent_id,
        "from": format_time(grid.start_s * 1_000_000),
        "to": format_time((grid.start_s + grid.length * grid.size_s) * 1_000_000),
        "step_s": grid.size_s,
        "series": {
            name: {
                "min": [None if cell is None else short(cell[1]) for cell in row],
                "mean": [None if cell is None else short(cell[2] / cell[0]) for cell in row],
                "max": [None if cell is None else short(cell[3]) for cell in row],
            }
            for name, row in sorted(grid.cells.items())
        },
    }


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if len(names) > _MOST_NAMES or not all(0 < len(name) <= _MOST_NAME_LENGTH for name in names):
        raise ValueError(f"must be 1 to {_MOST_NAMES} names of figures with commas between")
    return names
