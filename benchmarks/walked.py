"""What the agent remembers of this host after its first walk of all disks, made in minutes rather than in an hour.

The integrity thread's own parts do the whole walk, with the time that passes between two slices simulated.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks.agent_day import INTERVAL_S, LOOKS, Agent

NAME = "integrity.jsonl.gz"


def walk(state: Path) -> None:
    """Put it into a state folder."""
    with tempfile.TemporaryDirectory(prefix="walk-", dir=state.parent) as name:
        agent = Agent(Path(name))
        while not agent.walked:
            agent.clock.passed_s += INTERVAL_S / LOOKS
            agent.look_at_files()
        agent.close()
        shutil.copy(Path(name) / NAME, state / NAME)
