"""How figures, times and labels are shown; the filters and small pictures of the templates.

Nothing here knows of requests. Pictures are SVG made of numbers only; every text passes through the templates, which
escape it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from nerve_center.clock import format_time

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MUCH, _FULL = 80.0, 92.0
NONE = "\N{EN DASH}"


def percent(value: float | None) -> str:
    """A share: `3.4 %`, `97 %`, and a dash for what is not to be had."""
    if value is None:
        return NONE
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def size(value: float | None) -> str:
    """Bytes in binary units."""
    if value is None:
        return NONE
    number, power = float(value), 0
    while abs(number) >= 1023.95 and power < len(_UNITS) - 1:
        number, power = number / 1024, power + 1
    digits = 0 if power == 0 or abs(number) >= 99.95 else 1
    return f"{number:.{digits}f} {_UNITS[power]}"


def duration(seconds: float | None) -> str:
    """A span in its two largest units: `3 d 4 h`, `2 min 5 s`."""
    if seconds is None:
        return NONE
    left = max(0, round(seconds))
    if left == 0:
        return f"{max(0.0, seconds):.1f} s" if seconds > 0.05 else "0 s"
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def moment(time_us: int | None) -> Markup:
    """A time as an element that a script turns into the viewer's zone; without the script it says UTC."""
    if time_us is None:
        return Markup("<span>{}</span>").format(NONE)
    exact = format_time(time_us // 1_000_000 * 1_000_000)
    read = exact[:-1].replace("T", " ")
    return Markup(f'<time datetime="{exact}">{read} UTC</time>')  # noqa: S704 - of numbers only


def ago(time_us: int | None, now_us: int) -> Markup:
    """How long ago something was, both times of one clock; the exact time is its title."""
    if time_us is None:
        return Markup("<span>{}</span>").format(NONE)
    exact = format_time(time_us // 1_000_000 * 1_000_000)
    passed = duration(max(0, now_us - time_us) // 1_000_000)
    return Markup(f'<span title="{exact}">{passed} ago</span>')  # noqa: S704 - of numbers only


def share(value: float | None, of: str) -> Markup:
    """A share as a bar with its figure beside it."""
    if value is None:
        return Markup('<span class="quiet" title="{}">{}</span>').format("not available", NONE)
    level = "full" if value >= _FULL else "much" if value >= _MUCH else ""
    # Put together as text, numbers but for the title: a page has hundreds, and `Markup.format` is slow.
    return Markup(  # noqa: S704 - as said above
        f'<span class="share" title="{escape(of)}">'
        f'<svg class="{level}" aria-hidden="true" preserveAspectRatio="none">'
        f'<rect width="{min(max(value, 0.0), 100.0):.1f}%" height="100%"/></svg>{percent(value)}</span>'
    )


def spark(points: Sequence[tuple[int | None, int | None] | None]) -> Markup:
    """The last hour's cpu and memory as two lines; where there was nothing to show, no line."""
    count = 60
    start = count - len(points)
    lines = [
        f'<polyline class="{name}" points="{line}"/>'
        for which, name in ((1, "two"), (0, "one"))
        for line in _runs([None if point is None else point[which] for point in points], start)
    ]
    if not lines:
        return Markup("")
    return Markup(  # noqa: S704 - of numbers only
        '<svg class="spark" viewBox="0 0 60 22" preserveAspectRatio="none" role="img" '
        f'aria-label="cpu and memory in the last hour">{"".join(lines)}</svg>'
    )


def _runs(values: Sequence[int | None], start: int) -> Iterator[str]:
    run: list[str] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append(f"{start + index},{21 - value / 5:.1f}")
            continue
        if len(run) == 1:  # a line needs two ends
            x, y = run[0].split(",")
            run.append(f"{float(x) + 0.6:.1f},{y}")
        if run:
            yield " ".join(run)
        run = []


def state(name: str) -> str:
    """The name of a state for people."""
    return {"never_reported": "never reported", "warning": "late"}.get(name, name)


FILTERS = {
    "percent": percent,
    "size": size,
    "duration": duration,
    "moment": moment,
    "ago": ago,
    "share": share,
    "spark": spark,
    "state": state,
}
