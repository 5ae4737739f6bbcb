"""Two nerve centers on one database: one dies, the agent goes on with the other, and every record is there once."""

import signal
from pathlib import Path

from tests.support.processes import RealAgent, RealCenter, wait_for


def test_one_of_two_centers_dies(tmp_path: Path, center: RealCenter, agent: RealAgent) -> None:
    other = RealCenter(tmp_path / "other")
    # Later settings win: the second serves the database of the first.
    drop_ins = other.config.with_name("nerve-center.toml.d")
    drop_ins.mkdir()
    (drop_ins / "shared.toml").write_text(center.store.toml)
    urls = f'[nerve_center]\nurls = ["{center.url}", "{other.url}"]\n'
    (agent.folder / "agent.toml.d/20-test.toml").write_text(urls)
    try:
        center.start()
        center.wait_ready()
        other.start()
        other.wait_ready()
        agent.start()
        agent.wait_ready()
        agent_id = agent.wait_state("active")["agent_id"]
        wait_for(lambda: center.samples(agent_id), "a sample at the first")
        center.kill(signal.SIGKILL)
        before = len(other.samples(agent_id))
        wait_for(lambda: len(other.samples(agent_id)) > before + 2, "samples by way of the second")
        status = agent.wait_state("active")
        assert status["nerve_center"] == other.url
        assert "re-registered" not in agent.log()
        assert f"Reporting to {other.url} now, not to {center.url}" in agent.log()
        seqs = [sample["seq"] for sample in other.samples(agent_id)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert other.get(f"/api/v1/agents/{agent_id}/continuity")["unaccounted"] == 0
    finally:
        agent.close()
        other.close()
