"""What people are told, in words: one message for all that happened at once.

Each message is complete in itself. What comes from hosts is shortened, put on one line and sent as plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nerve_center.clock import format_time
from nerve_center.store.threat_reading import Threat

OVER = "over"
_MOST_GROUPS = 15
_MOST_HOSTS = 25
_MOST_OTHERS = 5
"""Summaries of one kind beside the first."""
_MOST_TEXT = 600


@dataclass(frozen=True)
class Message:
    """What is sent. `severity` is that of the worst in it, or `over` where all of it is over, and for a test."""

    title: str
    body: str
    severity: str


@dataclass(frozen=True)
class News:
    """What there is to tell at once: what opened (or opened again), became worse, is still there, or is over."""

    opened: Sequence[Threat] = ()
    worse: Sequence[Threat] = ()
    still: Sequence[Threat] = ()
    over: Sequence[Threat] = ()

    def __bool__(self) -> bool:
        return bool(self.opened or self.worse or self.still or self.over)


def compose(news: News, center_url: str = "") -> Message:
    """One message about all of it, the worst first; with links where the center has an address for people."""
    parts: list[str] = []
    for heading, threats in (
        ("", news.opened),
        ("Worse now:", news.worse),
        ("Still there, and nobody has acknowledged it:", news.still),
        ("Over:", news.over),
    ):
        if threats:
            parts.append(
                "\n\n".join(([heading] if heading else []) + _groups(threats, heading == "Over:", center_url))
            )
    every = [*news.opened, *news.worse, *news.still] or list(news.over)
    worst = max(every, key=lambda threat: threat.rank)
    severity = worst.severity if news.opened or news.worse or news.still else OVER
    return Message(_title(news, every, worst), "\n\n".join(parts), severity)


def trial(route: str, now_us: int, center_url: str = "") -> Message:
    """What the test of a route sends."""
    body = f"This is a test of the route {route}, sent at {_moment(now_us)}. All is well."
    if center_url:
        body += f"\n{center_url}/"
    return Message(f"DIO: test of {route}", body, OVER)


def _title(news: News, every: Sequence[Threat], worst: Threat) -> str:
    over = not (news.opened or news.worse or news.still)
    mark = "OVER" if over else worst.severity.upper()
    if not over and not news.opened and not news.worse:
        mark = f"REMINDER {mark}"
    alike = [threat for threat in every if threat.type == worst.type]
    where = _clean(worst.hostname or "several hosts", 100)
    hosts = len({item.agent_key for item in alike})
    if hosts > 1:
        where = f"{hosts} hosts"
    more = len(every) - len(alike)
    return f"[DIO {mark}] {_clean(worst.title, 150)}: {where}" + (f" and {more} more" if more else "")


def _groups(threats: Sequence[Threat], over: bool, center_url: str) -> list[str]:
    """A paragraph for each kind of threat."""
    groups: dict[tuple[str, str], list[Threat]] = {}
    for threat in sorted(threats, key=lambda item: (-item.rank, item.opened_us, item.hostname or "")):
        groups.setdefault((threat.type, threat.title), []).append(threat)
    found = [_group(group, over, center_url) for group in list(groups.values())[:_MOST_GROUPS]]
    if len(groups) > _MOST_GROUPS:
        left = sum(len(group) for group in list(groups.values())[_MOST_GROUPS:])
        found.append(f"… and {left} more.")
    return found


def _hosts(group: Sequence[Threat]) -> list[str]:
    return list(dict.fromkeys(_clean(threat.hostname or "-", 64) for threat in group))


def _on_hosts(group: Sequence[Threat]) -> str:
    """Where several of a kind are; each host once."""
    hosts = {threat.agent_key for threat in group}
    names = _hosts(group)
    rest = f" and {len(names) - _MOST_HOSTS} more" if len(names) > _MOST_HOSTS else ""
    many = f"{len(hosts)} hosts: " if len(hosts) > 1 else ""
    of_all = "" if len(hosts) == len(group) else f"{len(group)} on "
    return f"{of_all}{many}{', '.join(names[:_MOST_HOSTS])}{rest}"


def _others(group: Sequence[Threat]) -> list[str]:
    """The other summaries, where a host has several of a kind: the first does not stand for them."""
    if len({threat.agent_key for threat in group}) == len(group):
        return []
    said = dict.fromkeys(_clean(threat.summary, _MOST_TEXT) for threat in group if threat.summary)
    others = list(said)[1:]
    more = [f"… and {len(others) - _MOST_OTHERS} more."] if len(others) > _MOST_OTHERS else []
    return others[:_MOST_OTHERS] + more


def _group(group: Sequence[Threat], over: bool, center_url: str) -> str:
    first = group[0]
    lines = [f"{first.severity.upper()}: {_clean(first.title, 200)}"]
    if len(group) == 1:
        lines.append(_where(first))
    else:
        lines.append(_on_hosts(group))
    ended_us = first.cleared_us or first.updated_us
    lines.append(f"Over since: {_moment(ended_us)}" if over else f"Since: {_moment(first.opened_us)}")
    if first.summary:
        lines.append(_clean(first.summary, _MOST_TEXT))
    lines += _others(group)
    if not over:
        for name, label in (("why", "Why it matters"), ("next", "What to look at next")):
            text = first.more.get(name)
            if isinstance(text, str) and text:
                lines.append(f"{label}: {_clean(text, _MOST_TEXT)}")
    if center_url:
        lines.append(f"{center_url}/threats/{first.key}" if len(group) == 1 else f"{center_url}/threats")
    return "\n".join(lines)


def _where(threat: Threat) -> str:
    if threat.hostname:
        return f"Host: {_clean(threat.hostname, 255)}"
    hosts = threat.more.get("count")
    return f"On {hosts} hosts, as the nerve center sees it." if hosts else "Of the nerve center itself."


def _moment(time_us: int) -> str:
    return format_time(time_us // 1_000_000 * 1_000_000)


def _clean(text: str, most: int) -> str:
    """Text of a host's on one line, without what does not print."""
    clean = "".join(char if char.isprintable() else " " for char in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 1] + "…"
