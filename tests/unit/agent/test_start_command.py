"""The command's own start: requests without what it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dio_daemon.detect.median import median

_SCRIPT = """
import sys
from dio_daemon.start import import_requests
import_requests()
import requests
import dio_daemon.app
heavy = {"chardet", "charset_normalizer", "statistics", "decimal", "fractions"}
print(sorted(heavy & set(sys.modules)), requests.Session().headers["Accept"])
import charset_normalizer
print(charset_normalizer.__file__ is not None)
"""


def test_the_agent_does_not_load_what_guesses_character_sets() -> None:
    """Nor does it warn of their versions; whoever wants one later gets the real one."""
    command = [sys.executable, "-W", "error", "-c", _SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert (done.stdout, done.stderr) == ("[] */*\nTrue\n", "")


@pytest.mark.parametrize(
    ("figures", "middle"), [([3.0], 3.0), ([4.0, 1.0], 2.5), ([9.0, 1.0, 2.0], 2.0), ([4, 4, 1, 9], 4.0)]
)
def test_the_median(figures: list[float], middle: float) -> None:
    assert median(iter(figures)) == middle
