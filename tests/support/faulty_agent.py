"""`dio-agent` with collaborators that die at a chosen point or write down what they did. Run as a module.

Environment, each optional:

    DIO_TEST_KILL         sql:N ends the process by SIGKILL before the spool's N-th SQL statement, send:N before the
                          N-th exchange with the nerve center, answer:N after the N-th was answered and before the
                          agent knows
    DIO_TEST_RECORD       file of a witness (tests.support.witness), which notes each record that the spool is given
    DIO_TEST_MACHINE_ID   file with this host's machine id, so that several hosts fit on one machine
    DIO_TEST_NAMES        file of lines `name address port`; a name under .test that is not in it does not resolve
    DIO_TEST_WALL         file with the seconds by which this host's wall clock is wrong
    DIO_TEST_ASLEEP       file with the seconds for which this host was suspended: its clock since boot is ahead by them
    DIO_TEST_RETURN_S     seconds between attempts to return from a spool in memory to the disk
"""

import functools
import os
import signal
import socket
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dio_daemon import app, safe_spool
from dio_daemon.agent import Parts
from dio_daemon.clock import Clock, SystemClock
from dio_daemon.identity import IdentityFile
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool_model import Budget
from dio_daemon.spool_store import new_tag
from dio_daemon.transport import Answer, RequestsTransport
from tests.support.witness import Witness


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
        record = os.environ.get("DIO_TEST_RECORD")
        self._witness = Witness(Path(record)) if record else None
        super().__init__(path, budget, clock)
        self._spool._db.set_trace_callback(lambda statement: COUNTDOWN.at("sql"))

    def append(
        self, stream: str, kind: str, data: bytes, sampling_s: float = 0.0, time: str = "", tag: str = ""
    ) -> int:
        tag = tag or new_tag()
        if self._witness is not None:
            self._witness.note("begun", stream, tag)
        seq = super().append(stream, kind, data, sampling_s, time, tag)
        if self._witness is not None:
            self._witness.note("committed", stream, tag)
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


class WrongClock(SystemClock):
    """A clock whose wall time and time since boot are off by what files say, now and whenever that changes."""

    def __init__(self, wall: str | None, asleep: str | None) -> None:
        self._wall = Path(wall) if wall else None
        self._asleep = Path(asleep) if asleep else None

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._seconds(self._wall))

    def boottime(self) -> float:
        return super().boottime() + self._seconds(self._asleep)

    @staticmethod
    def _seconds(path: Path | None) -> float:
        return float(path.read_text() or 0) if path is not None else 0.0


class Names:
    """getaddrinfo that looks names under .test up in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".test"):
            return self._real(host, port, *args, **kwargs)
        for line in self._path.read_text().splitlines():
            name, address, new_port = line.split()
            if name == host:
                return self._real(address, int(new_port), *args, **kwargs)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def parts() -> Parts:
    """The agent's parts as the environment wants them."""
    identity, clock = IdentityFile, SystemClock
    if machine_id := os.environ.get("DIO_TEST_MACHINE_ID"):
        identity = functools.partial(IdentityFile, machine_id_path=Path(machine_id))
    wall, asleep = os.environ.get("DIO_TEST_WALL"), os.environ.get("DIO_TEST_ASLEEP")
    if wall or asleep:
        clock = functools.partial(WrongClock, wall, asleep)
    if names := os.environ.get("DIO_TEST_NAMES"):
        socket.getaddrinfo = Names(Path(names)).getaddrinfo
    if return_s := os.environ.get("DIO_TEST_RETURN_S"):
        safe_spool.RETURN_EVERY_S = float(return_s)
    return Parts(Transport, Spool, identity, clock)


COUNTDOWN = Countdown(os.environ.get("DIO_TEST_KILL", ""))

if __name__ == "__main__":
    sys.exit(app.main(parts=parts()))
