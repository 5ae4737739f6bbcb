"""What the keeper does. A new duty is a module of its own and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from nerve_center.alerts.plans import Plans
from nerve_center.config import Config
from nerve_center.keeper import deliver, notify, presence, retention, rollups, tidy, watch
from nerve_center.keeper.task import Task


def tasks(settings: Config) -> Sequence[Task]:
    """Every duty, as the configuration wants it."""
    file = settings.notify.file
    return (
        presence.TASK,
        rollups.TASK,
        retention.TASK,
        tidy.TASK,
        watch.task(Plans(file)),
        notify.task(Plans(file)),
        deliver.task(Plans(file)),
    )
