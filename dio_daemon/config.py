"""The agent's configuration: read whole, checked whole, then frozen.

`agent.toml` and after it `agent.toml.d/*.toml` in order of name; a later file wins key by key. Everything that
is wrong is reported at once, each with file and line, and nothing of a wrong configuration is ever used.
What may be set, its default and its bounds stand in the dataclasses below and nowhere else: the shipped
file, the manual page and `dioctl check-config` are held against them by tests.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dio_daemon.checks import (
    Check,
    boolean,
    choice,
    globs,
    http_url,
    http_urls,
    integer,
    labels,
    number,
    optional_path,
    optional_url,
    path,
    text,
    waits,
)
from dio_daemon.errors import ConfigError, Finding
from dio_daemon.toml_lines import line_of, read_toml

DEFAULT_PATH = Path("/etc/dio-agent/agent.toml")

Source = tuple[str, int | None]
"""File and line that a value came from."""


def setting(default: Any, check: Check) -> Any:
    """A dataclass field with the check that its value has to pass."""
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata={"check": check})
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True)
class NerveCenter:
    """Where the nerve center is and how it is trusted."""

    url: str = setting("http://127.0.0.1:8000", http_url)
    urls: tuple[str, ...] = setting((), http_urls)
    enrollment_token_file: Path = setting(Path("/etc/dio-agent/enrollment-token"), path)
    ca_file: Path | None = setting(None, optional_path)
    client_certificate: Path | None = setting(None, optional_path)
    client_key: Path | None = setting(None, optional_path)
    proxy: str = setting("", optional_url)
    proxy_login_file: Path | None = setting(None, optional_path)
    allow_plain_http: bool = setting(False, boolean)

    @property
    def client(self) -> tuple[Path, Path] | None:
        """The client certificate and its key, where there is one."""
        if self.client_certificate is None or self.client_key is None:
            return None
        return self.client_certificate, self.client_key

    @property
    def all_urls(self) -> tuple[str, ...]:
        """The nerve centers in order of preference: `urls`, or the one of `url`."""
        return self.urls or (self.url,)


@dataclass(frozen=True)
class Agent:
    """Who this host is and how often it is looked at."""

    interval_s: float = setting(10.0, number(1, 3600))
    hostname: str = setting("", text(255))
    labels: Mapping[str, str] = setting({}, labels)


@dataclass(frozen=True)
class Startup:
    """The way to READY."""

    health_timeout_s: float = setting(5.0, number(0.1, 60))
    health_waits_s: tuple[float, ...] = setting((2.0, 4.0, 8.0, 10.0), waits)
    jitter: float = setting(0.15, number(0, 1))
    ready_within_s: float = setting(60.0, number(1, 3600))
    register_attempts: int = setting(3, integer(1, 100))
    register_wait_s: float = setting(2.0, number(0, 600))


@dataclass(frozen=True)
class Delivery:
    """How reports are sent."""

    connect_timeout_s: float = setting(10.0, number(0.1, 120))
    total_timeout_s: float = setting(30.0, number(0.1, 600))
    failures_before_offline: int = setting(5, integer(1, 100))
    flush_s: float = setting(5.0, number(0, 10))
    batch_records: int = setting(200, integer(1, 500))


@dataclass(frozen=True)
class Spool:
    """How much is kept while it cannot be delivered, and after it was."""

    max_mib: float = setting(64.0, number(1, 65536))
    max_age_days: float = setting(7.0, number(0.01, 365))
    keep_acknowledged_h: float = setting(24.0, number(0, 8760))


@dataclass(frozen=True)
class Collect:
    """What is sampled."""

    top_processes: int = setting(5, integer(0, 20))
    call_timeout_s: float = setting(2.0, number(0.1, 30))


@dataclass(frozen=True)
class Detect:
    """What is looked for, beside the rules."""

    baselines: bool = setting(True, boolean)
    forecast_after_s: float = setting(10800.0, number(60, 86400))


@dataclass(frozen=True)
class Integrity:
    """Whether changes of this host's own body are watched for: files, accounts, processes, sockets, logins."""

    enabled: bool = setting(True, boolean)
    ignore: tuple[str, ...] = setting((), globs)


@dataclass(frozen=True)
class Policy:
    """Whether the nerve center may set interval, rules and what is normal."""

    accept: bool = setting(True, boolean)


@dataclass(frozen=True)
class Paths:
    """Where the agent keeps what is its own."""

    state_dir: Path = setting(Path("/var/lib/dio-agent"), path)
    socket: Path = setting(Path("/run/dio-agent/agent.sock"), path)


@dataclass(frozen=True)
class Log:
    """What goes to the journal."""

    level: str = setting("info", choice("debug", "info", "warning", "error"))


@dataclass(frozen=True)
class Config:
    """The whole configuration; `sources` tells for each `section.key` the file and line it came from."""

    nerve_center: NerveCenter = field(default_factory=NerveCenter)
    agent: Agent = field(default_factory=Agent)
    startup: Startup = field(default_factory=Startup)
    delivery: Delivery = field(default_factory=Delivery)
    spool: Spool = field(default_factory=Spool)
    collect: Collect = field(default_factory=Collect)
    detect: Detect = field(default_factory=Detect)
    integrity: Integrity = field(default_factory=Integrity)
    policy: Policy = field(default_factory=Policy)
    paths: Paths = field(default_factory=Paths)
    log: Log = field(default_factory=Log)
    sources: Mapping[str, Source] = field(default_factory=dict, compare=False)


SECTIONS: dict[str, Any] = {
    "nerve_center": NerveCenter,
    "agent": Agent,
    "startup": Startup,
    "delivery": Delivery,
    "spool": Spool,
    "collect": Collect,
    "detect": Detect,
    "integrity": Integrity,
    "policy": Policy,
    "paths": Paths,
    "log": Log,
}


def load(main: Path = DEFAULT_PATH) -> Config:
    """Read the configuration.

    Args:
        main: the main file; the drop-ins stand beside it in `<name>.d/`. A missing default file means defaults.

    Raises:
        ConfigError: with every finding of every file.
    """
    findings: list[Finding] = []
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    sources: dict[str, Source] = {}
    files = [] if main == DEFAULT_PATH and not main.exists() else [main]
    drop_ins = main.with_name(main.name + ".d")
    try:
        files += sorted(entry for entry in drop_ins.glob("*.toml") if entry.is_file())
    except OSError as error:
        findings.append(Finding(str(drop_ins), None, f"cannot be read: {error.strerror}"))
    for file in files:
        _read_file(file, values, sources, findings)
    config = Config(
        **{name: kind(**values[name]) for name, kind in SECTIONS.items()},
        sources=sources,
    )
    _check_together(config, sources, findings, main)
    if findings:
        raise ConfigError(sorted(findings, key=lambda finding: (finding.file, finding.line or 0)))
    return config


def _read_file(
    file: Path, values: dict[str, dict[str, Any]], sources: dict[str, Source], findings: list[Finding]
) -> None:
    source, document = read_toml(file, findings)
    for section, table in document.items():
        if section not in SECTIONS:
            where = line_of(source, section, None)
            findings.append(
                Finding(str(file), where, f"unknown section [{section}]{_similar(section, SECTIONS)}")
            )
        elif not isinstance(table, dict):
            where = line_of(source, None, section)
            findings.append(Finding(str(file), where, f"{section} must be a section: [{section}]"))
        else:
            _read_section(file, source, section, table, values[section], sources, findings)


def _read_section(
    file: Path,
    source: str,
    section: str,
    table: dict[str, Any],
    values: dict[str, Any],
    sources: dict[str, Source],
    findings: list[Finding],
) -> None:
    fields = {item.name: item for item in dataclasses.fields(SECTIONS[section])}
    for key, value in table.items():
        line = line_of(source, section, key)
        if key not in fields:
            message = f"unknown setting {key} in [{section}]{_similar(key, fields)}"
            findings.append(Finding(str(file), line, message))
            continue
        try:
            values[key] = fields[key].metadata["check"](value)
        except ValueError as error:
            findings.append(Finding(str(file), line, f"{section}.{key} {error}"))
        else:
            sources[f"{section}.{key}"] = (str(file), line)


def _check_together(
    config: Config, sources: Mapping[str, Source], findings: list[Finding], main: Path
) -> None:
    def complain(message: str, *settings: str) -> None:
        where = next((sources[name] for name in settings if name in sources), (str(main), None))
        findings.append(Finding(*where, message))

    center = config.nerve_center
    for url in center.all_urls:
        if url.startswith("http:") and not center.allow_plain_http and not is_loopback(url):
            name = "nerve_center.urls" if center.urls else "nerve_center.url"
            complain(
                f"{name} {url} would send this agent's credential in clear to another host: "
                "use https, or set nerve_center.allow_plain_http = true",
                name,
            )
    if (center.client_certificate is None) != (center.client_key is None):
        complain(
            "nerve_center.client_certificate and nerve_center.client_key go together",
            "nerve_center.client_certificate",
            "nerve_center.client_key",
        )
    if config.delivery.connect_timeout_s > config.delivery.total_timeout_s:
        complain(
            "delivery.connect_timeout_s must not be larger than delivery.total_timeout_s",
            "delivery.connect_timeout_s",
            "delivery.total_timeout_s",
        )


def describe(config: Config) -> list[dict[str, Any]]:
    """Every setting in force: section, key, value as JSON has it, and the file and line it came from.

    There is nothing to mask: secrets are in files of their own, and URLs carry no user.
    """
    found = []
    for section, kind in SECTIONS.items():
        for item in dataclasses.fields(kind):
            value = getattr(getattr(config, section), item.name)
            source = config.sources.get(f"{section}.{item.name}")
            found.append(
                {
                    "section": section,
                    "key": item.name,
                    "value": _plain(value),
                    "source": "default" if source is None else source[0],
                    "line": None if source is None else source[1],
                }
            )
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else "" if value is None else value


def is_loopback(url: str) -> bool:
    """Whether a URL names this host by a loopback address or as localhost."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _similar(word: str, known: Mapping[str, object]) -> str:
    import difflib  # only a wrong file pays for it

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; known: " + ", ".join(known)
