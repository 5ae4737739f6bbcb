"""A center with a keeper that watches and tells, one step at a time, and a mailbox in place of the world."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from nerve_center.alerts.message import Message
from nerve_center.alerts.plans import Plans
from nerve_center.alerts.routes import Target
from nerve_center.keeper import deliver, notify, watch
from nerve_center.keeper.lease import Lease
from nerve_center.keeper.task import Desk, Task
from nerve_center.store import states
from tests.unit.center.harness import API_TOKEN, AgentUnderTest, CenterUnderTest

OPS = '[[route]]\nname = "ops"\nurls = ["json://192.0.2.1/secret-token"]\n'


class Telling:
    """Keeps the keeper's tasks, the file of notifications, and what was sent to whom."""

    def __init__(self, center: CenterUnderTest, folder: Path, text: str = OPS) -> None:
        self.center = center
        self.file = folder / "notify.toml"
        self.write(text)
        self.sent: list[tuple[Target, Message, str]] = []
        self.trouble: str | None = None
        parts = center.center
        lease = Lease(parts.engine, parts.writer, center.clock, "keeper", 1e9)
        lease.step()
        self.desk = Desk(center.settings, parts.engine, parts.writer, lease, center.clock, threading.Event())
        self.restart()

    def write(self, text: str) -> None:
        self.file.unlink(missing_ok=True)
        self.file.touch(mode=0o600)
        self.file.write_text(text)

    def restart(self) -> None:
        """The keeper's process ends and another begins."""
        self.tasks: list[Task] = [
            watch.task(Plans(self.file)),
            notify.task(Plans(self.file)),
            deliver.task(Plans(self.file), self._send),
        ]

    def _send(self, target: Target, message: Message, id_: str) -> str | None:
        if self.trouble is None:
            self.sent.append((target, message, id_))
        return self.trouble

    def listen(self) -> None:
        """The center can hear agents at this moment."""
        now_us = self.center.center.steady.now_us()
        self.center.center.writer.submit(lambda connection: states.note_listening(connection, now_us))

    def turn(self) -> None:
        """Every task has its turn, while the center listens."""
        self.listen()
        for task in self.tasks:
            task.step(self.desk)

    def later(self, seconds: float, *alive: AgentUnderTest) -> list[Message]:
        """Time passes, `alive` report; what was sent meanwhile."""
        before = len(self.sent)
        left = seconds
        while left > 0:
            passed = min(left, 7.0)
            left -= passed
            self.center.clock.advance(passed)
            for agent in alive:
                agent.send(agent.report([]))
            self.turn()
        return [message for _, message, _ in self.sent[before:]]

    def opened(self, agent: AgentUnderTest, **changes: Any) -> None:
        """A threat record of an agent."""
        data = {
            "type": "disk_full",
            "severity": "high",
            "fingerprint": "disk:/",
            "state": "open",
            "title": "Disk is full",
            **changes,
        }
        seq = int(agent.marks.get("events", {"seq": 0})["seq"]) + 1
        agent.deliver(agent.record(seq, "threat", data=data), stream="events")

    def cleared(self, agent: AgentUnderTest, **changes: Any) -> None:
        self.opened(agent, state="cleared", **changes)

    def threats(self, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.center.get("/api/v1/threats", **query).json["threats"]
        return found

    def act(self, threat: dict[str, Any], name: str, **body: Any) -> None:
        response = self.center.post(f"/api/v1/threats/{threat['id']}/{name}", body, API_TOKEN)
        assert response.status_code in (200, 201), response.text


def hosts(center: CenterUnderTest, number: int, **changes: Any) -> list[AgentUnderTest]:
    """Agents that have reported."""
    made = [center.agent(hostname=f"host{index}", **changes) for index in range(number)]
    for agent in made:
        agent.send(agent.report([]))
    return made
