"""The agent's composition root: builds every part, in the order in which they depend on each other, and runs.

Nothing else in the agent constructs its collaborators.
"""

from __future__ import annotations

import fnmatch
import logging
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dio_daemon import __version__, config, daemon, journal
from dio_daemon.backoff import Backoff
from dio_daemon.board import Board
from dio_daemon.center import Center, Limits
from dio_daemon.centers import Centers
from dio_daemon.changes import Changes
from dio_daemon.clock import Clock, SystemClock
from dio_daemon.collect.collector import HostCollector
from dio_daemon.collect.facts import host_facts
from dio_daemon.control import Control
from dio_daemon.deadlines import Deadlines
from dio_daemon.delivery import Delivery
from dio_daemon.detect.baselines import Baselines
from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.finding import Detector
from dio_daemon.detect.integrity.assemble import assemble
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.host import seen_from_here
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.detect.integrity.witness import Witness
from dio_daemon.detect.integrity.worker import Integrity
from dio_daemon.detect.rule_files import RuleText, folder_of, rule_texts, rules_of
from dio_daemon.detect.rules import Rules
from dio_daemon.detect.trend import DiskTrend
from dio_daemon.detect.watch import Watch
from dio_daemon.errors import ConfigError
from dio_daemon.feed import Feed
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.identity import IdentityFile, boot_id, new_run_id, place_of
from dio_daemon.ipc.routes import Routes
from dio_daemon.ipc.server import ControlServer
from dio_daemon.lifecycle import State
from dio_daemon.link import Link
from dio_daemon.link_state import Connection, LinkState
from dio_daemon.maintenance import Maintenance
from dio_daemon.messages import Kind, about
from dio_daemon.policy_keeper import PolicyKeeper
from dio_daemon.registrar import Registrar, hostname
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.sampler import Sampler
from dio_daemon.service_manager import ServiceManager
from dio_daemon.spool_model import Budget
from dio_daemon.starts import StartHistory, credentials_stamp
from dio_daemon.submissions import Submissions
from dio_daemon.threat_log import ThreatLog
from dio_daemon.transport import RequestsTransport, Transport
from dio_daemon.wire import EVENTS, to_json

log = logging.getLogger(__name__)

INTEGRITY_JOIN_S = 3.0
"""It is woken at its stop, and writes its baseline down."""
SAMPLER_JOIN_S = 2.0
"""How long the last flush waits for a sample that is being taken."""


@dataclass(frozen=True)
class Parts:
    """What reaches outside: the network, the disk, who this machine is, and the time."""

    transport: Callable[
        [Deadlines, Path | None, str, str, tuple[Path, Path] | None, Path | None], Transport
    ] = RequestsTransport
    spool: Callable[[Path, Budget, Clock], SafeSpool] = SafeSpool
    identity: Callable[[Path], IdentityFile] = IdentityFile
    clock: Callable[[], Clock] = SystemClock


class Agent:
    """The object graph of one agent process."""

    def __init__(
        self, settings: config.Config, path: Path, clock: Clock, manager: ServiceManager, parts: Parts
    ) -> None:
        self._parts = parts
        self._local = settings
        self._path = path
        self._clock = clock
        self._inbox = daemon.Inbox()
        state_dir = settings.paths.state_dir
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.paths.socket.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._history = StartHistory(
            state_dir / "starts.json",
            clock,
            boot_id(),
            credentials_stamp(settings.nerve_center.enrollment_token_file, path),
        )
        level = logging.DEBUG if self._history.quiet else logging.INFO
        starting = about(Kind.STARTING, state=State.STARTING.value)
        log.log(level, "Starting DIO Agent: DIO-Agent-%s", hostname(settings), extra=starting)
        names = ("control", "sampler", "link", *(("integrity",) if settings.integrity.enabled else ()))
        beats = {name: Heartbeat(name, clock) for name in names}
        self._beats = list(beats.values())
        self._feed = Feed(clock)
        self._board = Board(clock, self._inbox.changed, self._feed.publish)
        # Bound before anything that can wait; what it answers is put together below, before its thread starts.
        self._deadlines = Deadlines(clock)
        self._control = ControlServer(settings.paths.socket, beats["control"], self._deadlines)
        journal.describe(lambda: self._board.snapshot)
        self._policy = PolicyKeeper(
            state_dir / "policy.json",
            settings.policy.accept,
            self._rules_at_start(),
            self._board,
            lambda: self._inbox.put(daemon.Do(self._apply_policy)),
        )
        settings = self._config = self._policy.applied_to(settings)
        self._spool = parts.spool(state_dir / "spool.db", _budget(settings), clock)
        identity = parts.identity(state_dir / "identity.json")
        registrar = Registrar(
            identity, new_run_id(), boot_id(), place_of(state_dir, boot_id()), host_facts, clock
        )
        self._board.update(agent_id=registrar.identity.agent_id, instance_id=registrar.identity.instance_id)
        maintenance = Maintenance(state_dir / "maintenance.json", clock, boot_id())
        state = LinkState(
            self._connection(settings),
            self._board,
            self._spool,
            registrar,
            lambda new: Backoff(new.startup.health_waits_s, new.startup.jitter, random.SystemRandom()),
            self._history,
            beats["link"],
            clock,
            path,
            maintenance,
        )
        self._delivery = Delivery(self._spool, clock)
        self._link = Link(state, self._delivery, self._policy)
        self._book = ThreatBook(
            state_dir / "threats.json", self._put_down_threat, ThreatLog(self._feed.publish), clock
        )
        self._book.tolerate(self._policy.normal)
        window = ChangeWindow(state_dir / "change-window.json", clock)
        self._integrity: Integrity | None = None
        if settings.integrity.enabled:
            self._integrity = assemble(
                seen_from_here(),
                state_dir,
                tuple(re.compile(fnmatch.translate(each)) for each in settings.integrity.ignore),
                window,
                beats["integrity"],
                clock,
                self._record_event,
                lambda: self._sampler.look_soon(),
            )
        self._disk_trend = DiskTrend(state_dir / "disks.json", clock, settings.detect.forecast_after_s)
        seen = seen_from_here()
        self._witness = Witness(
            seen, Packages(seen)
        )  # of its own: the rules are another thread's than integrity
        self._baselines = Baselines(state_dir / "baselines.json", clock)
        self._watch = Watch(self._detectors(), self._book)
        self._sampler = Sampler(
            self._collector(settings),
            self._spool,
            self._board,
            self._link.records_waiting,
            beats["sampler"],
            clock,
            settings.agent.interval_s,
            self._feed.publish,
            self._watch,
        )
        changes = Changes(window, self._integrity.wake if self._integrity is not None else lambda: None)
        control = Control(
            self._board,
            self._spool,
            self._sampler,
            self._link,
            self._beats,
            maintenance,
            Submissions(self._spool, clock),
            self._feed,
            self._book,
            window.document,
            self._policy,
            lambda: self._config,
            self._ask_reload,
            clock,
        )
        self._control.handle = Routes({**control.routes(), **changes.routes()}).handle
        workers = [
            # First, for it stops last: the goodbye has a deadline as well.
            daemon.Part(self._control, beats["control"]),
            daemon.Part(self._link, beats["link"], self._link.finish),
            # Last, for it stops first: the link's last flush takes its last sample along.
            daemon.Part(self._sampler, beats["sampler"], join_s=SAMPLER_JOIN_S),
        ]
        if self._integrity is not None:
            watched = daemon.Part(
                self._integrity, beats["integrity"], self._integrity.finish, join_s=INTEGRITY_JOIN_S
            )
            workers.insert(2, watched)
        self._daemon = daemon.Daemon(
            workers,
            self._board,
            self._spool,
            manager,
            self._inbox,
            self._reload,
            clock,
        )

    def run(self) -> int:
        """Run until the end; the exit code."""
        self._daemon.catch_signals()
        try:
            return self._daemon.run()
        finally:
            self._feed.close()
            self._control.close()
            self._watch.close()
            self._baselines.close()
            self._disk_trend.close()
            self._spool.close()

    def _rules_at_start(self) -> list[RuleText]:
        """The rules; the shipped ones alone where those of this host are bad: it must not stay unwatched."""
        try:
            texts = rule_texts(folder_of(self._path))
            rules_of(texts)
            return texts
        except ConfigError as error:
            for finding in error.findings:
                log.error("%s", finding, extra=about(Kind.BAD_CONFIGURATION))
            self._refuse_rules(error)
            return rule_texts(None)

    def _refuse_rules(self, error: ConfigError | None) -> None:
        found = {}
        if error is not None:
            more = f" and {len(error.findings) - 1} more" if len(error.findings) > 1 else ""
            found["rules_refused"] = (
                f"{error.findings[0]}{more}. The shipped rules are in force alone; see dioctl rules check."
            )
        self._board.set_conditions("rules", found)

    def _detectors(self) -> list[Detector]:
        rules = self._policy.rules
        found: list[Detector] = [
            Rules(rules, self._book.severity_of, self._disk_trend.fill_in, self._witness)
        ]
        if self._config.detect.baselines:
            found.append(self._baselines)
        if self._integrity is not None:
            found.append(self._integrity)
        return found

    def _record_event(self, type_: str, message: str, data: dict[str, Any]) -> None:
        """What is known and only recorded: an event, and a line for who follows."""
        event = {"type": type_, "message": message[:4096], "data": data}
        self._spool.append(EVENTS, "event", to_json(event))
        self._feed.publish("event", event)
        self._link.records_waiting()

    def _put_down_threat(self, data: bytes) -> None:
        self._spool.append(EVENTS, "threat", data)

    def _connection(self, settings: config.Config) -> Connection:
        center = settings.nerve_center
        transport = self._parts.transport(
            self._deadlines,
            center.ca_file,
            center.proxy,
            f"dio-agent/{__version__}",
            center.client,
            center.proxy_login_file,
        )
        limits = Limits(
            settings.startup.health_timeout_s,
            settings.delivery.connect_timeout_s,
            settings.delivery.total_timeout_s,
        )
        centers = Centers(
            [Center(url, transport, limits, center.proxy) for url in center.all_urls], random.SystemRandom()
        )
        return Connection(settings, centers, transport)

    def _collector(self, settings: config.Config) -> HostCollector:
        return HostCollector(self._clock, settings.collect, skew_s=lambda: self._delivery.skew_s)

    def _reload(self) -> None:
        """Read the configuration again and give each part what is its own. Raises ConfigError."""
        new = config.load(self._path)
        self._policy.use(new.policy.accept, rule_texts(folder_of(self._path)))
        if new.paths != self._local.paths:
            log.warning("[paths] changed: that takes a restart (systemctl restart dio-agent)")
        self._local = new
        journal.set_level(new.log.level)
        self._spool.reconfigure(_budget(new))
        self._refuse_rules(None)
        self._apply_policy()
        self._link.reconfigure(self._connection(self._config))

    def _apply_policy(self) -> None:
        """Put in force what configuration and policy say together."""
        old, self._config = self._config, self._policy.applied_to(self._local)
        new = self._config
        if (new.agent.interval_s, new.collect) != (old.agent.interval_s, old.collect):
            self._sampler.reconfigure(self._collector(new), new.agent.interval_s)
        self._watch.reconfigure(self._detectors())
        self._book.tolerate(self._policy.normal)
        self._sampler.look_soon()
        self._link.records_waiting()
        if new != old:
            self._link.reconfigure(self._connection(new))

    def _ask_reload(self) -> list[str] | None:
        """Have the main thread reload; what is wrong, or None when it did not get to it in time."""
        request = daemon.Reload(threading.Event(), [])
        self._inbox.put(request)
        return request.errors if self._clock.wait(request.done, daemon.RELOAD_S) else None


def _budget(settings: config.Config) -> Budget:
    spool = settings.spool
    return Budget(int(spool.max_mib * 1048576), spool.max_age_days * 86400, spool.keep_acknowledged_h * 3600)
