"""A short run of every fault mixed; `make chaos` runs ten minutes with ten agents and draws a seed."""

from pathlib import Path

import pytest

from tests.support.chaos import Chaos
from tests.support.processes import GUARD_S

SEED = 1329613836
"""Always the same, so that a failure comes from a change; `make chaos` looks for new ones."""


@pytest.mark.timeout(900)
def test_a_minute_and_a_half_of_everything(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, 4, SEED, active_within_s=2 * GUARD_S)
    try:
        chaos.run(90)
    finally:
        chaos.close()
