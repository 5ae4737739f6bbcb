"""Every page, imported once so that all of them are on the blueprint."""

from nerve_center.dashboard import (
    chart_library,
    enroll,
    events,
    fleet,
    host,
    login,
    notifications,
    people,
    policies,
    silences,
    threats,
)
from nerve_center.dashboard.site import blueprint, problem_page

__all__ = [
    "blueprint",
    "chart_library",
    "enroll",
    "events",
    "fleet",
    "host",
    "login",
    "notifications",
    "people",
    "policies",
    "problem_page",
    "silences",
    "threats",
]
