"""What holds for every test."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import stores

# The same examples each time, so that a failure is the change's own. HYPOTHESIS_PROFILE=search draws new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30


def _keep_folders_in_memory() -> None:
    """Databases and spools sync often, which takes most of the time on a disk; TMPDIR names another place."""
    if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None  # looked up anew


_keep_folders_in_memory()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where nerve centers have PostgreSQL, leave out the tests of SQLite itself."""
    if stores.ON_POSTGRESQL:
        apart = [item for item in items if item.get_closest_marker("sqlite")]
        items[:] = [item for item in items if item not in apart]
        config.hook.pytest_deselected(items=apart)
