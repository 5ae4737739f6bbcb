"""A host under test: a real agent with a machine id and a proxy of its own, kept alive as systemd would."""

import random
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import witness
from tests.support.processes import GUARD_S, RealAgent, RealCenter, wait_for
from tests.support.proxy import PASS, FaultProxy


class Host:
    """An agent behind a proxy of its own.

    Args:
        folder: of this host; its name is the host's.
        center: the nerve center that the proxy leads to.
        rng: for the proxy.
        settings: a drop-in for the agent's configuration.
        url: where the agent reports to; the proxy unless given.
    """

    def __init__(
        self, folder: Path, center: RealCenter, rng: random.Random, settings: str = "", url: str = ""
    ) -> None:
        self.proxy = FaultProxy(center.port, rng)
        self.agent = RealAgent(
            folder, url or f"http://127.0.0.1:{self.proxy.port}", center.token_file, settings
        )
        self.agent.module = "tests.support.faulty_agent"
        self.record = folder / "witness"
        witness.prepare(self.record)
        self.machine_id_file = folder / "machine-id"
        self.machine_id_file.write_text(secrets.token_hex(16))
        self.agent.environ = {
            "DIO_TEST_RECORD": str(self.record),
            "DIO_TEST_MACHINE_ID": str(self.machine_id_file),
            "DIO_TEST_RETURN_S": "2",
        }
        self.exits: list[int] = []
        """Exit codes of processes that ended by themselves."""
        self.held_down = False
        """A host that is down on purpose is not kept alive."""

    @property
    def name(self) -> str:
        return self.agent.folder.name

    @property
    def state_dir(self) -> Path:
        return self.agent.folder / "state"

    @property
    def spool(self) -> Path:
        return self.state_dir / "spool.db"

    @property
    def pid(self) -> int:
        assert self.agent.process is not None
        return self.agent.process.pid

    @property
    def id(self) -> str:
        """The agent's id, as it is now."""
        return str(self.wait(lambda status: status["agent_id"], "an agent id"))

    def start(self, **environ: str) -> None:
        self.held_down = False
        self.agent.start(**environ)

    def started(self) -> "Host":
        """Start it and wait until it is active."""
        self.start()
        self.active()
        return self

    def keep(self) -> None:
        """Start the agent again when it ended by itself."""
        if not self.held_down and self.agent.process is not None and not self.agent.alive:
            self.exits.append(self.agent.ended())
            self.agent.start()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the agent; it stays down until `start`."""
        self.held_down = True
        self.agent.kill(number)

    def wait(self, condition: Callable[[dict[str, Any]], Any], what: str, within_s: float = GUARD_S) -> Any:
        """The first truthy value of a condition on the agent's status, while the agent is kept alive."""
        last: dict[str, Any] | None = None

        def look() -> Any:
            nonlocal last
            self.keep()
            last = self.agent.look() or last
            return last and condition(last)

        try:
            return wait_for(look, what, within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.name}: {last}; log: {self.agent.log()[-3000:]}") from None

    def active(self, within_s: float = GUARD_S) -> dict[str, Any]:
        """Wait until reports are acknowledged again."""
        return dict(
            self.wait(
                lambda status: (
                    status["state"] == "active"
                    and status["consecutive_failures"] == 0
                    and status["last_acknowledged_at"]
                    and status
                ),
                "active",
                within_s,
            )
        )

    def failing(self, within_s: float = GUARD_S) -> dict[str, Any]:
        """Wait until the agent noticed a fault."""
        return dict(
            self.wait(lambda status: status["consecutive_failures"] >= 1 and status, "a failure", within_s)
        )

    def pending(self, least: int, within_s: float = GUARD_S) -> None:
        """Wait until so many records wait for the nerve center."""
        self.wait(lambda status: status["spool"]["pending"] >= least, f"{least} records waiting", within_s)

    def drained(self, within_s: float = GUARD_S) -> None:
        """Wait until nothing waits."""
        self.wait(lambda status: status["spool"]["pending"] == 0, "a drained spool", within_s)

    def condition(self, code: str, there: bool = True, within_s: float = GUARD_S) -> None:
        """Wait until a condition is there, or is there no more."""
        self.wait(
            lambda status: (code in status["conditions"]) is there, f"condition {code}: {there}", within_s
        )

    def told(self) -> witness.Testimony:
        """What the agent noted of the samples that it committed."""
        return witness.read(self.record)

    def committed(self) -> frozenset[str]:
        """Tags of all samples that the agent said it committed."""
        return self.told().committed

    def close(self) -> None:
        self.held_down = True
        self.agent.close()
        self.proxy.close()


def faultless(*hosts: Host) -> None:
    """End every fault of the network."""
    for host in hosts:
        host.proxy.fault = PASS
