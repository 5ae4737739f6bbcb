"""Chart.js, as Debian's libjs-chart.js installs it; the package carries no copy of it.

The pages work without it: they say that it is not installed, and show figures and tables.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flask import Response, send_file

from nerve_center.dashboard.site import blueprint
from nerve_center.errors import Refused

_PLACES = (
    Path("/usr/share/javascript/chart.js/chart.min.js"),
    Path("/usr/share/javascript/chart.js/Chart.min.js"),
    Path(sys.prefix) / "share/javascript/chart.js/chart.min.js",  # where scripts/bootstrap puts it
)
_DAY_S = 86400


def path() -> Path | None:
    """The file; None where it is not installed."""
    return next((place for place in _PLACES if place.is_file()), None)


@blueprint.get("/static/chart.js")
def chart_js() -> Response:
    """The library, for the page of a host."""
    found = path()
    if found is None:
        raise Refused(404, "not-found", "Chart.js is not installed.", "Install the package libjs-chart.js.")
    response = send_file(found, mimetype="text/javascript", conditional=True, max_age=_DAY_S)
    response.headers["Cache-Control"] = f"private, max-age={_DAY_S}"
    return response
