"""The policy that a nerve center tells this agent: a document that is taken whole or not at all.

It says how often to look, which rules to put on top of this host's own, and which findings are normal here; nothing
else of it is ever used, so a nerve center can neither move the agent elsewhere nor make it blind to whole kinds of
trouble without a rule or a finding that stands in the document by name. `AgentPolicy` of the contract is its form.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dio_daemon.errors import PolicyUnusable

MOST_BYTES: Final = 1 << 20
MOST_RULES: Final = 128
MOST_TOLERATED: Final = 1000
MOST_RULES_BYTES: Final = 1 << 18

VERSION: Final = re.compile(r"[0-9a-f]{16}")
_TYPE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Tolerated:
    """A finding that is normal. `until` is the moment from which on it no longer is; None: without an end."""

    type: str
    fingerprint: str
    subject: str = ""
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True)
class Policy:
    """What holds. `interval_s` None: it says nothing of it. `rules` are (whose, TOML), in their order."""

    version: str
    interval_s: float | None
    rules: tuple[tuple[str, str], ...]
    tolerated: tuple[Tolerated, ...]

    @property
    def name(self) -> str:
        """As a source of settings and rules."""
        return f"policy {self.version}"


def parse(raw: bytes) -> Policy | None:
    """The policy in a document; None where it says that nothing is set.

    Raises PolicyUnusable with the first thing that does not fit.
    """
    if len(raw) > MOST_BYTES:
        raise PolicyUnusable(f"the document is larger than {MOST_BYTES} bytes")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PolicyUnusable("the document is not JSON") from error
    if not isinstance(document, dict):
        raise PolicyUnusable("the document is no JSON object")
    for name in ("version", "interval_s", "rules", "tolerated"):
        if name not in document:
            raise PolicyUnusable(f"the document has no {name}")
    version = document["version"]
    if version is None:
        return None
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise PolicyUnusable("version is not 16 hex digits")
    return Policy(
        version,
        _interval(document["interval_s"]),
        tuple(_rules(each) for each in _list(document["rules"], "rules", MOST_RULES)),
        tuple(_tolerated(each) for each in _list(document["tolerated"], "tolerated", MOST_TOLERATED)),
    )


def _interval(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 3600:
        raise PolicyUnusable("interval_s is no number from 1 to 3600")
    return float(value)


def _list(value: Any, name: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise PolicyUnusable(f"{name} is no list of at most {most}")
    return value


def _rules(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise PolicyUnusable("rules hold something that is no object")
    return _text(value.get("of"), "rules.of", 600), _toml(value.get("toml"))


def _toml(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_RULES_BYTES:
        raise PolicyUnusable(f"rules.toml is no text of at most {MOST_RULES_BYTES} characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PolicyUnusable("rules.toml is not Unicode") from error
    return value


def _tolerated(value: Any) -> Tolerated:
    if not isinstance(value, dict):
        raise PolicyUnusable("tolerated holds something that is no object")
    type_, fingerprint = value.get("type"), _text(value.get("fingerprint"), "tolerated.fingerprint", 128)
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
        raise PolicyUnusable("tolerated.type is no type of a threat")
    if not fingerprint:
        raise PolicyUnusable("tolerated.fingerprint is empty")
    return Tolerated(
        type_,
        fingerprint,
        _text(value.get("subject", ""), "tolerated.subject", 1024),
        _text(value.get("reason", ""), "tolerated.reason", 1024),
        _moment(value.get("until")),
    )


def _text(value: Any, name: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise PolicyUnusable(f"{name} is no text of at most {most} characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PolicyUnusable(f"{name} is not Unicode") from error
    return value


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise PolicyUnusable("tolerated.until is no time") from error
    if moment.tzinfo is None:
        raise PolicyUnusable("tolerated.until has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise PolicyUnusable("tolerated.until is no time") from error
