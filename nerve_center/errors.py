"""The errors of the nerve center, in one tree.

    CenterError
     +-- ConfigError           the configuration files do not fit; carries every error found
     +-- StartError            the center cannot start: one sentence that says what, why and what to do
     +-- DatabaseUnavailable   the database takes no work now; worth a retry
     +-- Refused               a request is answered with a problem document (RFC 9457)

Foreign exceptions are turned into one of these where they enter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class CenterError(Exception):
    """Base of all."""


class ConfigError(CenterError):
    """The configuration does not fit. `errors` holds one line for each mistake, with file and line."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = tuple(errors)


class StartError(CenterError):
    """The nerve center cannot start. The text is one line for a person."""


class DatabaseUnavailable(CenterError):
    """The database cannot be read or written now.

    `kind` is what a program tells the cases apart by: `locked`, `full`, `read_only`, `io`, `corrupt`, `busy`
    (too much is waiting), `away` (it cannot be reached), `refused` (it does not let the center in) or `closed`.
    `reason` is for people, such as "database is locked", and goes to whoever asked; `detail` is what the database
    itself said, for the log. `retry_after_s` is the least that a client is asked to wait.
    """

    def __init__(self, kind: str, reason: str, retry_after_s: int = 2, detail: str = "") -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.detail = detail

    @property
    def full(self) -> str:
        """The reason, and what the database itself said."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


class Refused(CenterError):
    """A request that is answered with a problem document.

    `code` becomes `urn:dio:problem:<code>`; `members` are further members of the document (`mark`, `index`,
    `seq`, `errors`); `headers` go with the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str | None = None,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {title}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})
