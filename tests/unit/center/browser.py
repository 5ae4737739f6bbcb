"""A browser at the nerve center's pages: keeps cookies, finds forms, logs in as people do."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from werkzeug.test import TestResponse

from nerve_center.passwords import Passwords
from nerve_center.store import audit, users
from nerve_center.store.engine import reading
from tests.unit.center.harness import CHEAP, CenterUnderTest

PASSWORD = "correct horse battery"


class Browser:
    """Whoever looks at the pages; `secure` as if it came by TLS."""

    def __init__(self, center: CenterUnderTest, address: str = "192.0.2.1", secure: bool = False) -> None:
        self.center = center
        self.client = center.app.test_client()
        self.address = address
        self.base = "https://center.example" if secure else "http://center.example"
        self.cookie = "__Host-dio" if secure else "dio"

    def get(self, path: str, **headers: str) -> TestResponse:
        return self._send("GET", path, None, headers)

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> TestResponse:
        return self._send("POST", path, form or {}, headers)

    def login(self, name: str = "ann", password: str = PASSWORD, following: str = "/account") -> TestResponse:
        token = form_token(self.get("/login").text)
        return self.post("/login", {"name": name, "password": password, "csrf": token, "next": following})

    def send_form(self, page: str, path: str, form: dict[str, str] | None = None) -> TestResponse:
        """Send a form of `page` with its token."""
        return self.post(path, {"csrf": form_token(self.get(page).text), **(form or {})})

    def session(self) -> str | None:
        """The token in the session's cookie."""
        found = self.client.get_cookie(self.cookie, domain="center.example")
        return found.value if found is not None else None

    def _send(
        self, method: str, path: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> TestResponse:
        sent: Any = {name.replace("_", "-"): value for name, value in headers.items()}
        origin = {"REMOTE_ADDR": self.address}
        return self.client.open(
            path, method=method, data=form, headers=sent, base_url=self.base, environ_overrides=origin
        )


def person(
    center: CenterUnderTest, name: str = "ann", role: str = "viewer", password: str = PASSWORD
) -> None:
    """Somebody who can log in."""
    made = Passwords(CHEAP).make(password)
    center.center.writer.submit(
        lambda connection: users.add(connection, name, made, role, center.clock.now_us())
    )


def form_token(page: str) -> str:
    """The token in the first form of a page."""
    found = re.search(r'name="csrf" value="([^"]*)"', page)
    assert found, page
    return unescape(found[1])


def audited(center: CenterUnderTest) -> list[tuple[str, str, str]]:
    with reading(center.center.engine) as connection:
        return [(item.actor, item.action, item.target) for item in audit.page(connection, None, 100)]


def write(center: CenterUnderTest, work: Any) -> Any:
    return center.center.writer.submit(work)
