"""Is a host there? Derived, where it is asked for, from when it was last heard. The keeper writes down its history.

    never_reported   registered, nothing came yet
    active           heard within 2 of its own intervals
    warning          within 3
    offline          longer ago
    stopped          it said goodbye and has not reported since
    maintenance      silent, within a window that it announced

Heard is when its last report came (`agents.heard_us`); time in which the center itself could not hear does not count.
A grace of 2 s covers the way and a slow commit.
"""

from __future__ import annotations

WARNING_INTERVALS = 2
OFFLINE_INTERVALS = 3
GRACE_S = 2.0


def state(
    heard_us: int | None,
    goodbye_us: int | None,
    maintenance_until_us: int | None,
    interval_s: float,
    now_us: int,
) -> str:
    """The state's name. A goodbye counts until the next report, which clears it where it is stored."""
    if goodbye_us is not None:
        return "stopped"
    if heard_us is None:
        return "never_reported"
    if not silent(heard_us, interval_s, now_us, WARNING_INTERVALS):
        return "active"
    if maintenance_until_us is not None and now_us < maintenance_until_us:
        return "maintenance"
    if not silent(heard_us, interval_s, now_us, OFFLINE_INTERVALS):
        return "warning"
    return "offline"


def silent(last_us: int, interval_s: float, now_us: int, intervals: int = OFFLINE_INTERVALS) -> bool:
    """Whether nothing was heard for so many intervals and the grace. A clock that went back counts as heard."""
    return now_us - last_us > (intervals * interval_s + GRACE_S) * 1_000_000
