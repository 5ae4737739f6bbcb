"""A real nerve center with a fleet, and a real Chromium that looks at it; one of each for all tests of this folder."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser import fleet
from tests.browser.browser import Browser, chromium
from tests.support.installed import THERE, InstalledCenter
from tests.support.processes import RealCenter

PASSWORD = "correct horse battery"
PICTURES = Path(__file__).parents[2] / (
    "docs/images" if os.environ.get("DIO_SCREENSHOTS") else "build/screenshots"
)


class TreeCenter(RealCenter):
    """The one of the source tree, with what the installed one has."""

    def token(self) -> str:
        """The enrollment token of its file."""
        return self.token_file.read_text()

    def enroll(self, commands: list[str]) -> str:
        """Take a host in by the token of the commands that the page shows; returns its name."""
        name = "enrolled.example.net"
        fleet.Host(self.url, commands[-1].splitlines()[1], name, {}, 5.0)
        return name


class Site(Browser):
    """The center, its hosts, and the browser."""

    def __init__(
        self, center: TreeCenter | InstalledCenter, hosts: list[fleet.Host], driver: webdriver.Chrome
    ) -> None:
        super().__init__(center.url, driver)
        self.center, self.hosts = center, hosts

    def picture(self, name: str) -> None:
        """Keep what is to be seen, for the documentation (DIO_SCREENSHOTS=1) or for whoever looks at a failure."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        shot = self.command("Page.captureScreenshot", format="webp", quality=80)
        (PICTURES / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture(autouse=True)
def _pages_are_held(request: pytest.FixtureRequest, site: Site) -> Iterator[None]:
    """A page that is renewed under a test at a time of its own makes the test a matter of luck."""
    if request.node.get_closest_marker("living"):
        yield
        return
    with site.held():
        yield


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    center = InstalledCenter() if THERE else TreeCenter(folder)
    center.start()
    try:
        center.healthy()
        add = ("user", "add", "ann", "--role", "admin", "--password-file", "-")
        center.control(*add, stdin=PASSWORD + "\n")
        hosts = fleet.fill(center.url, center.token())
        driver = chromium(folder / "profile")
        try:
            found = Site(center, hosts, driver)
            found.log_in(center.control("user", "login-link", "ann").strip())
            yield found
        finally:
            driver.quit()
    finally:
        center.close()
