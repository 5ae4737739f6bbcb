"""Counters to rates and shares."""


def rate(new: float | None, old: float | None, seconds: float | None) -> float | None:
    """Return what was counted a second, or None.

    None when either counter is missing, when no time passed, and when the counter went back (a reset or a
    wrap: nobody knows what was counted meanwhile).
    """
    if new is None or old is None or not seconds or seconds < 0 or new < old:
        return None
    return round((new - old) / seconds, 2)


def percent(part: float | None, whole: float | None) -> float | None:
    """Return `part` in percent of `whole`, or None when either is missing or the whole is nothing."""
    if part is None or not whole or whole < 0:
        return None
    return round(100.0 * part / whole, 2)
