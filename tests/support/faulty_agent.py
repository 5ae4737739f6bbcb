"""`dio-agent` with collaborators that die at a chosen point or write down what they did. Run as a module.

Environment: `DIO_TEST_KILL=sql:N` ends the process by SIGKILL before the spool's N-th SQL statement,
`send:N` before the N-th exchange with the nerve center, `answer:N` after the N-th was answered and before the agent
knows. `DIO_TEST_RECORD=FILE` appends stream, tag and time of each record that the spool committed.
`DIO_TEST_MACHINE_ID` is this host's machine id, so that several hosts fit on one machine.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from dio_daemon import app
from dio_daemon.clock import Clock
from dio_daemon.identity import IdentityFile, derive_agent_id
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool import Budget
from dio_daemon.transport import Answer, RequestsTransport


class Countdown:
    """Ends the process when it has been called for its point so many times."""

    def __init__(self, spec: str) -> None:
        self.point, _, count = spec.partition(":")
        self.left = int(count or 0)

    def at(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Spool(SafeSpool):
    """A spool that counts its statements and writes down the tags of what it committed."""

    def __init__(self, path: Path, budget: Budget, clock: Clock) -> None:
        self._record = os.environ.get("DIO_TEST_RECORD")
        super().__init__(path, budget, clock)
        self._spool._db.set_trace_callback(lambda statement: COUNTDOWN.at("sql"))

    def append(self, stream: str, kind: str, data: bytes, sampling_s: float = 0.0, time: str = "") -> int:
        seq = super().append(stream, kind, data, sampling_s, time)
        if self._record:
            with self._lock:
                row = self._spool._db.execute(
                    "SELECT tag, time FROM records WHERE stream = ? AND seq = ?", (stream, seq)
                ).fetchone()
            with Path(self._record).open("a") as file:
                file.write(f"{stream} {row[0]} {row[1]}\n")
        return seq


class Transport(RequestsTransport):
    """A transport that dies around an exchange."""

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_s: float,
        total_s: float,
    ) -> Answer:
        COUNTDOWN.at("send")
        answer = super().exchange(method, url, headers, body, connect_s, total_s)
        COUNTDOWN.at("answer")
        return answer


class Identity(IdentityFile):
    """An identity of a machine whose id the test gave."""

    def _derived_id(self) -> str | None:
        given = os.environ.get("DIO_TEST_MACHINE_ID")
        return derive_agent_id(given) if given else super()._derived_id()


COUNTDOWN = Countdown(os.environ.get("DIO_TEST_KILL", ""))

if __name__ == "__main__":
    sys.exit(app.main(parts=app.Parts(Transport, Spool, Identity)))
