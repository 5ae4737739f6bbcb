"""A short run of every fault mixed at random; `make chaos` runs ten minutes with ten agents."""

import secrets
from pathlib import Path

import pytest

from tests.support.chaos import Chaos


@pytest.mark.timeout(400)
def test_a_minute_and_a_half_of_everything(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}: python -m tests.support.chaos --seconds 90 --agents 4 --seed {seed}")
    chaos = Chaos(tmp_path, 4, seed)
    try:
        chaos.run(90)
    finally:
        chaos.close()
