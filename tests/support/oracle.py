"""Is everything that an agent committed at the nerve center, once, or counted in a gap?

Two witnesses that know nothing of each other: the nerve center's continuity report, and what the agents wrote down
themselves (`DIO_TEST_RECORD`).
"""

import urllib.error
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.support.hosts import Host
from tests.support.processes import RealCenter
from tests.support.witness import Testimony


@dataclass(frozen=True)
class Account:
    """What was found of the samples: how many were committed, tags of those and of those in hand at a kill that are
    not stored, what gaps count, the tags stored, the report."""

    committed: int
    lost: frozenset[str]
    perhaps_lost: frozenset[str]
    in_gaps: int
    stored: list[str]
    report: dict[str, Any]

    @property
    def exact(self) -> bool:
        """Whether gaps count what is lost, and nothing else: a record that was in hand may be counted or not."""
        return len(self.lost) <= self.in_gaps <= len(self.lost) + len(self.perhaps_lost)

    def __str__(self) -> str:
        return (
            f"{self.committed} committed, {len(self.stored)} stored, {len(self.lost)} lost, "
            f"{len(self.perhaps_lost)} more perhaps, {self.in_gaps} in gaps, {len(self.report['streams'])} histories"
        )


def account(center: RealCenter, agent_id: str, told: Testimony, losses: int = 1) -> Account:
    """Compare; fails when a record is unaccounted for, counted as lost though it is there, or there twice.

    After more than one loss gaps may count too many, and never too few (decision 0021).
    """
    found = look(center, agent_id, told)
    assert found.exact or (losses > 1 and len(found.lost) <= found.in_gaps), (
        f"{found}: {sorted(found.lost)[:5]}; {found.report}"
    )
    return found


def look(center: RealCenter, agent_id: str, told: Testimony) -> Account:
    """Compare; fails when what is stored is not continuous, or is there twice, which must not be at any time."""
    report = center.get(f"/api/v1/agents/{agent_id}/continuity")
    assert report["complete"], report
    assert report["unaccounted"] == 0, report
    stored = [sample["tag"] for sample in center.samples(agent_id)]
    assert len(stored) == len(set(stored)), "stored twice"
    gaps = [gap for history in report["streams"] if history["stream"] == "samples" for gap in history["gaps"]]
    in_gaps = sum(gap["count"] for gap in gaps)
    lost, perhaps = told.committed.difference(stored), told.in_hand.difference(stored)
    return Account(len(told.committed), lost, perhaps, in_gaps, stored, report)


def settled(center: RealCenter, host: Host, gaps: bool = False, losses: int = 1) -> Account:
    """Wait until the agent has delivered all that it committed by now, then compare.

    With `gaps` some of it may be counted in a gap, after so many `losses`; otherwise nothing at all is lost.
    """
    host.active()
    host.wait(lambda status: host.told().committed, "a record")
    told = host.told()
    host.drained()
    found: Account | None = None

    def all_told(status: dict[str, Any]) -> bool:
        nonlocal found
        try:
            found = look(center, status["agent_id"], told)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:  # a center that lost its memory, which the agent has yet to notice
                    raise
            return False
        return len(found.lost) <= (found.in_gaps if gaps else 0)

    host.wait(all_told, "everything accounted for")
    assert found is not None
    assert gaps or found.in_gaps == 0, found.report
    return account(center, host.id, told, losses)


def all_there(center: RealCenter, hosts: Iterable[Host]) -> None:
    """Everybody is active again without having ended, and all that was committed is stored."""
    for host in hosts:
        settled(center, host)
        assert host.exits == [], host.agent.log()


def never_mixed(center: RealCenter, hosts: Iterable[Host]) -> None:
    """No agent at the nerve center holds a sample that another host committed."""
    committed = {host.name: host.committed() for host in hosts}
    for agent in center.get("/api/v1/agents?limit=1000")["agents"]:
        stored = {sample["tag"] for sample in center.samples(agent["id"])}
        whose = [name for name, tags in committed.items() if tags & stored]
        assert len(whose) <= 1, f"{agent['id']} holds samples of {whose}"
