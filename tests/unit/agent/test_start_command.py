"""The command's own start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dio_daemon.detect.median import median

_SCRIPT = """
import sys
import dio_daemon.app
heavy = {"requests", "urllib3", "chardet", "statistics", "decimal", "fractions", "asyncio", "html", "socketserver"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_agent_loads_nothing_that_it_does_not_need() -> None:
    """Each of these takes hundreds of KiB on every host."""
    command = [sys.executable, "-W", "error", "-c", _SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("figures", "middle"), [([3.0], 3.0), ([4.0, 1.0], 2.5), ([9.0, 1.0, 2.0], 2.0), ([4, 4, 1, 9], 4.0)]
)
def test_the_median(figures: list[float], middle: float) -> None:
    assert median(iter(figures)) == middle
