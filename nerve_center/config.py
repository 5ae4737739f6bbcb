"""The nerve center's configuration: TOML in, frozen dataclasses out.

`load(path)` reads the file and then every `*.toml` in the folder beside it that has the file's name and `.d`,
in the order of their names; a later value wins. Everything is checked before anything is used, and every
mistake is reported with its file and line. A missing default file means the defaults; a file that was asked
for by name must be there. A relative path counts from the folder of the file that names it.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nerve_center.errors import ConfigError

DEFAULT_PATH = Path("/etc/dio-nerve-center/nerve-center.toml")
_MAX_FILE_BYTES = 1_048_576
_MAX_URL = 2000


def _bounded(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Server:
    """How the center is reached and how much a client may ask of it."""

    host: str = "127.0.0.1"
    port: int = _bounded(8000, 1, 65535)
    workers: int = _bounded(2, 1, 64)
    request_timeout_s: float = _bounded(30.0, 1, 3600)
    worker_connections: int = _bounded(20000, 10, 1_000_000)
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Tls:
    """TLS without a proxy: certificate and key, and the authority of agents' certificates where they need one."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    @property
    def on(self) -> bool:
        """Whether the center speaks TLS itself."""
        return self.certificate is not None


@dataclass(frozen=True)
class Database:
    """Where everything is kept: a file of SQLite, or a database of PostgreSQL.

    `url` may hold a password, so it is not shown; `url_file` is a file with nothing but the URL.
    """

    path: Path = Path("/var/lib/dio-nerve-center/nerve-center.db")
    url: str = field(default="", repr=False, metadata={"check": lambda value: check_url(value)})
    url_file: Path | None = None

    @property
    def place(self) -> Path | URL:
        """The path, or the URL where one is set."""
        return make_url(self.url) if self.url else self.path


@dataclass(frozen=True)
class Enrollment:
    """Who may bring a new agent."""

    token_file: Path = Path("/etc/dio-nerve-center/enrollment-token")


@dataclass(frozen=True)
class Keeper:
    """The keeper: the process for what is not a request."""

    lease_s: float = _bounded(15.0, 2, 300)
    audit_days: float = _bounded(365.0, 1, 36500)


@dataclass(frozen=True)
class Notify:
    """Who is told what; a file of its own, because it holds secrets."""

    file: Path = Path("/etc/dio-nerve-center/notify.toml")


@dataclass(frozen=True)
class Login:
    """How long a person stays logged in on the page: without doing anything, and at most."""

    idle_h: float = _bounded(12.0, 0.05, 720)
    lifetime_h: float = _bounded(168.0, 0.05, 8760)


@dataclass(frozen=True)
class Retention:
    """How long what is kept."""

    raw_h: int = _bounded(48, 2, 8760)
    minutes_days: int = _bounded(30, 1, 3650)
    quarters_days: int = _bounded(365, 1, 3650)
    events_days: int = _bounded(365, 1, 3650)


@dataclass(frozen=True)
class Limits:
    """The largest body of a request, as it comes and when unpacked."""

    body_mib: float = _bounded(1.0, 0.01, 1024)
    decompressed_mib: float = _bounded(8.0, 0.01, 4096)


@dataclass(frozen=True)
class Log:
    """How much is said."""

    level: str = field(default="info", metadata={"choices": ("debug", "info", "warning", "error")})


@dataclass(frozen=True)
class Config:
    """All of it."""

    server: Server = Server()
    tls: Tls = Tls()
    database: Database = Database()
    enrollment: Enrollment = Enrollment()
    keeper: Keeper = Keeper()
    retention: Retention = Retention()
    notify: Notify = Notify()
    login: Login = Login()
    limits: Limits = Limits()
    log: Log = Log()


def load(path: Path | None = None) -> Config:
    """Read and check the configuration; `path` None means the default place.

    Raises ConfigError with every mistake in every file.
    """
    main = path or DEFAULT_PATH
    errors: list[str] = []
    config = Config()
    for file in _files(main, required=path is not None, errors=errors):
        config = _apply(config, file, errors)
    if (config.tls.certificate is None) != (config.tls.key is None):
        errors.append(f"{main}: tls.certificate and tls.key go together; set both, or neither")
    elif config.tls.client_ca is not None and not config.tls.on:
        errors.append(f"{main}: tls.client_ca needs tls.certificate and tls.key")
    if config.database.url_file is not None:
        config = _with_url_of_file(config, config.database.url_file, main, errors)
    if errors:
        raise ConfigError(errors)
    return config


def _with_url_of_file(config: Config, file: Path, main: Path, errors: list[str]) -> Config:
    """The configuration with the URL that stands in a file of its own."""
    if config.database.url:
        errors.append(f"{main}: database.url and database.url_file say the same twice; keep one")
        return config
    try:
        return replace(config, database=replace(config.database, url=read_url(file)))
    except OSError as exc:
        errors.append(f"{file}: cannot be read: {exc.strerror}{_as_root(exc)}")
    except ValueError as exc:
        errors.append(f"{file}: {exc}")
    return config


def read_url(file: Path) -> str:
    """The URL of a database in a file that only its owner, and its group, can read.

    Raises OSError, and ValueError with what is wrong.
    """
    with file.open("rb") as opened:
        mode = os.fstat(opened.fileno()).st_mode
        text = opened.read(_MAX_URL + 1).decode("utf-8", "replace").strip()
    if mode & 0o007:
        raise ValueError("may be read by everybody; chmod 0600 or 0640")
    return check_url(text)


def check_url(value: Any) -> str:
    """A URL of PostgreSQL. Raises ValueError with what is wrong, and nothing of a URL, which may hold a password."""
    form = "such as postgresql://user@host/database"
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_URL:
        raise ValueError(f"must be the URL of a database {form}")
    try:
        url = make_url(value)
        drivers = ("postgresql", "postgresql+psycopg2")
        if url.drivername not in drivers:
            raise ValueError(
                f"must be the URL of a database of PostgreSQL {form}; for SQLite set database.path"
            )
    except ArgumentError:
        raise ValueError(f"must be the URL of a database {form}") from None
    if not url.database:
        raise ValueError(f"must name a database {form}")
    return value


def _files(main: Path, required: bool, errors: list[str]) -> Iterator[Path]:
    try:
        if main.exists():
            yield main
        elif required:
            errors.append(f"{main}: no such file; give an existing file to --config")
        folder = main.with_name(main.name + ".d")
        if folder.is_dir():
            yield from sorted(entry for entry in folder.iterdir() if entry.suffix == ".toml")
    except OSError as exc:
        errors.append(f"{main}: cannot be read: {exc.strerror}{_as_root(exc)}")


def _apply(config: Config, file: Path, errors: list[str]) -> Config:
    """The configuration with one file's values on top of it."""
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            errors.append(f"{file}: larger than {_MAX_FILE_BYTES} bytes; this is no configuration file")
            return config
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as exc:
        errors.append(f"{file}: cannot be read: {exc.strerror}{_as_root(exc)}")
        return config
    except UnicodeDecodeError as exc:
        errors.append(f"{file}: not UTF-8 at byte {exc.start}")
        return config
    except tomllib.TOMLDecodeError as exc:
        errors.append(_syntax_error(file, text, exc))
        return config
    except RecursionError:
        errors.append(f"{file}: nested too deep")
        return config
    lines = _Lines(file, text)
    changes: dict[str, Any] = {}
    for name, table in document.items():
        section = getattr(config, name, None) if name in _names(config) else None
        if section is None:
            errors.append(f"{lines.at(name)}: unknown section [{name}]{_hint(name, _names(config))}")
        elif not isinstance(table, dict):
            errors.append(f"{lines.at(name)}: {name} must be a section: write [{name}]")
        else:
            changes[name] = _section(section, name, table, lines, errors)
    return replace(config, **changes)


def _section(section: Any, name: str, table: Mapping[str, Any], lines: _Lines, errors: list[str]) -> Any:
    changes: dict[str, Any] = {}
    known = {item.name: item for item in fields(section)}
    for key, value in table.items():
        where = lines.at(name, key)
        if key not in known:
            errors.append(f"{where}: unknown key {key} in [{name}]{_hint(key, list(known))}")
            continue
        try:
            changes[key] = _value(value, known[key].default, known[key].metadata, lines.file)
        except ValueError as exc:
            errors.append(f"{where}: {name}.{key} {exc}")
    return replace(section, **changes)


def _value(value: Any, current: Any, limits: Mapping[str, Any], file: Path) -> Any:
    """The checked value, of the type of the one it replaces. Raises ValueError with what is wrong."""
    if isinstance(current, int | float):
        wanted = "a whole number" if isinstance(current, int) else "a number"
        fits = isinstance(value, int) or (isinstance(value, float) and isinstance(current, float))
        if isinstance(value, bool) or not fits:
            raise ValueError(f"must be {wanted}, not {_show(value)}")
        if not limits["low"] <= value <= limits["high"]:
            raise ValueError(f"must be {limits['low']} to {limits['high']}, not {value}")
        return value
    if isinstance(current, tuple):
        return _networks(value)
    if limits.get("check") is not None:
        return limits["check"](value)
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, not {_show(value)}")
    if current is None and not value:
        return None
    if not value or "\0" in value:
        raise ValueError("must not be empty" if not value else "must not hold a NUL")
    if "choices" in limits and value not in limits["choices"]:
        raise ValueError(f"must be one of {', '.join(limits['choices'])}, not {_show(value)}")
    if current is None or isinstance(current, Path):
        return file.parent.absolute() / value
    return value


def _networks(value: Any) -> tuple[str, ...]:
    """Addresses and networks. Raises ValueError with what is wrong."""
    if not isinstance(value, list) or len(value) > 100:
        raise ValueError(f"must be a list of addresses or networks, not {_show(value)}")
    for item in value:
        try:
            ipaddress.ip_network(item if isinstance(item, str) else "", strict=False)
        except ValueError:
            raise ValueError(
                f"must hold addresses or networks such as 10.0.0.0/8, not {_show(item)}"
            ) from None
    return tuple(value)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _names(config: Config) -> list[str]:
    return [item.name for item in fields(config)]


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _syntax_error(file: Path, text: str, exc: tomllib.TOMLDecodeError) -> str:
    found = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", str(exc))
    if found is None:
        return f"{file}: {exc}"
    line = found[2] or str(text.count("\n") + 1)
    return f"{file}:{line}: {found[1]}"


class _Lines:
    """Where in a TOML file a section or a key stands; tomllib does not tell."""

    _SECTION = re.compile(r"^\s*\[\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*\]")
    _KEY = re.compile(r"^\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*(?:\.\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*)?=")

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self._lines: dict[tuple[str, ...], int] = {}
        section: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if found := self._SECTION.match(line):
                section = (found[1],)
                self._lines.setdefault(section, number)
            elif found := self._KEY.match(line):
                key = section + tuple(part for part in found.groups() if part)
                for length in range(1, len(key) + 1):
                    self._lines.setdefault(key[:length], number)

    def at(self, *key: str) -> str:
        """`file:line`, as near as it is known."""
        line = self._lines.get(key) or self._lines.get(key[:1]) or 1
        return f"{self.file}:{line}"


def _as_root(exc: OSError) -> str:
    return "; run this as root" if isinstance(exc, PermissionError) else ""
