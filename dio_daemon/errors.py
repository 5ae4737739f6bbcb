"""Every error that the agent knows, and what each asks of it.

    DioError                     base: a message for a person, with what to do
    ├── ConfigError              the configuration cannot be used (exit 78)
    ├── PolicyUnusable           the nerve center's policy cannot be used
    ├── IdentityError            the identity cannot be read or written
    ├── SpoolError               the spool cannot be used as it is
    │   ├── SpoolUnavailable     the disk refuses (full, read-only, I/O): try again later
    │   ├── SpoolCorrupt         the file is not a spool: set it aside
    │   └── SpoolClosed          the agent is ending: nothing is taken any more
    ├── GiveUp                   the agent cannot go on in this process and exits
    └── CenterError              an exchange with the nerve center failed
        ├── Unreachable          no connection: refused, unreachable, reset
        ├── NameNotResolved      DNS
        ├── TlsFailed            certificate or handshake
        ├── TimedOut             no whole answer in time
        ├── NotANerveCenter      something else answers there
        ├── Unhealthy            it is a nerve center and says it cannot take reports now
        └── Rejected             it answered with a problem document

Foreign exceptions are translated where they enter (`center.py`, `spool.py`, `config.py`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # `dioctl` imports this module and has to be quick
    from typing import Any

EX_TEMPFAIL = 75
"""sysexits.h: the nerve center was not ready in time; systemd starts the agent again."""
EX_NOPERM = 77
"""sysexits.h: the nerve center refused this agent's token or credential."""
EX_CONFIG = 78
"""sysexits.h: the configuration cannot be used; not started again until somebody mends it."""


class DioError(Exception):
    """Base of all errors of the agent. `str()` is the sentence that a person reads."""


class Finding:
    """One thing that is wrong in a configuration file; `line` counts from 1, None where it has none."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        self.file = file
        self.line = line
        self.message = message

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.message}"


class ConfigError(DioError):
    """The configuration cannot be used; `findings` lists everything that is wrong."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(str(finding) for finding in findings))
        self.findings = findings


class PolicyUnusable(DioError):
    """The policy that the nerve center told cannot be used; the text says why."""


class IdentityError(DioError):
    """The identity cannot be read, made or written."""


class SpoolError(DioError):
    """The spool cannot be used as it is."""


class SpoolUnavailable(SpoolError):
    """The disk refuses: full, read-only, no permission, I/O error."""


class SpoolCorrupt(SpoolError):
    """The file is damaged or is not a spool."""


class SpoolClosed(SpoolError):
    """The spool was closed: the agent is ending."""


class GiveUp(DioError):
    """The agent cannot go on in this process: it exits with `code`; the text is its last Status."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class CenterError(DioError):
    """An exchange with the nerve center failed. `kind` is a stable word for programs."""

    kind = "error"
    status: int | None = None
    """The HTTP status of the answer; None where there was none, or it did not matter."""


class Unreachable(CenterError):
    """No connection could be made, or it broke."""

    kind = "refused"

    def __init__(self, message: str, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


class NameNotResolved(CenterError):
    """The host's name has no address."""

    kind = "dns"


class TlsFailed(CenterError):
    """The certificate or the handshake was not acceptable."""

    kind = "tls"


class TimedOut(CenterError):
    """There was no whole answer in time."""

    kind = "timeout"


class NotANerveCenter(CenterError):
    """Something answers at that address, but it is not a nerve center."""

    kind = "not_a_nerve_center"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unhealthy(CenterError):
    """A nerve center that says that it cannot take reports now."""

    kind = "unhealthy"


class Rejected(CenterError):
    """The nerve center answered with an error.

    Attributes: `status`, `code` (the problem's code, "" when the answer was no problem document),
    `retry_after_s` (None when not given), `body` (the problem document).
    """

    kind = "status"

    def __init__(
        self, message: str, status: int, code: str, retry_after_s: float | None, body: dict[str, Any]
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.body = body
