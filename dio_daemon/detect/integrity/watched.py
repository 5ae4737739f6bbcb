"""All groups of watched files; the first that names a file has it."""

from __future__ import annotations

from typing import Final

from dio_daemon.detect.integrity.group import Group
from dio_daemon.detect.integrity.watched_access import ACCESS
from dio_daemon.detect.integrity.watched_starts import STARTS
from dio_daemon.detect.integrity.watched_system import SYSTEM

GROUPS: Final[tuple[Group, ...]] = (*ACCESS, *STARTS, *SYSTEM)
