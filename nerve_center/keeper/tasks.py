"""What the keeper does. A new duty is a module of its own and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nerve_center.alerts.plans import Plans
from nerve_center.config import Config
from nerve_center.keeper import deliver, notify, partitions, presence, retention, rollups, tidy, watch
from nerve_center.keeper.task import Task


def tasks(settings: Config) -> Sequence[Task]:
    """Every duty, as the configuration wants it."""
    file = settings.notify.file
    of_database = () if isinstance(settings.database.place, Path) else (partitions.TASK,)
    return (
        *of_database,
        presence.TASK,
        rollups.TASK,
        retention.TASK,
        tidy.TASK,
        watch.task(Plans(file)),
        notify.task(Plans(file)),
        deliver.task(Plans(file)),
    )
