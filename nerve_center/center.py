"""The parts of one serving process, put together once.

`Center` is made before gunicorn forks and opens nothing; `start` opens engines and starts the writer and the
probe in the process that serves, `stop` ends them.
"""

from __future__ import annotations

from nerve_center import tls
from nerve_center.admission import Admission
from nerve_center.auth import Authority
from nerve_center.budget import Budget
from nerve_center.clock import Clock
from nerve_center.config import Config
from nerve_center.contract import Contract
from nerve_center.enrolling import Enrolling
from nerve_center.ingest import Ingest
from nerve_center.managing import Managing
from nerve_center.people import People
from nerve_center.policy import Versions
from nerve_center.probe import Probe
from nerve_center.programs import Programs
from nerve_center.registration import Registrar
from nerve_center.store.engine import reading_engine
from nerve_center.store.steady import Steady
from nerve_center.store.writer import Writer
from nerve_center.turns import Turns

_MEMORY_FOR_BODIES = 128 * 1024 * 1024


class Center:
    """Everything that the blueprints use."""

    def __init__(self, config: Config, contract: Contract, clock: Clock) -> None:
        self.config = config
        self.contract = contract
        self.clock = clock
        self.tls = tls.context(config.tls)
        self.engine = reading_engine(config.database.place)
        self.writer = Writer(config.database.place, clock)
        self.authority = Authority(self.engine, config.enrollment.token_file, clock)
        self.steady = Steady(self.engine, clock)
        self.people = People(config.login, self.engine, self.writer, clock, self.steady)
        self.ingest = Ingest(contract, self.writer, clock, self.steady, Versions(clock))
        self.registrar = Registrar(contract, self.authority, self.writer, clock, self.steady)
        self.managing = Managing(self.people, self.engine, self.writer, clock)
        self.enrolling = Enrolling(self.engine, self.writer, clock)
        self.programs = Programs(self.engine, self.writer, clock)
        self.probe = Probe(self.engine, self.writer, clock, self.steady)
        self.admission = Admission()
        self.turns = Turns()
        self.budget = Budget(_MEMORY_FOR_BODIES)

    def start(self) -> None:
        """Begin to serve, in this process."""
        self.writer.start()
        self.probe.start()

    def stop(self) -> None:
        """Commit what waits and close the database."""
        self.probe.stop()
        self.writer.stop()
        self.engine.dispose()
