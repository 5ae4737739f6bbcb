"""What the keeper does. A new duty is a module of its own and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from nerve_center.config import Config
from nerve_center.keeper import presence, retention, rollups, tidy
from nerve_center.keeper.task import Task


def tasks(_settings: Config) -> Sequence[Task]:
    """Every duty, as the configuration wants it."""
    return (presence.TASK, rollups.TASK, retention.TASK, tidy.TASK)
