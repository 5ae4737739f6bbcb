"""What a test does with a page in a real Chromium: opens it, presses keys, reads and waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.processes import wait_for

WITHIN_S = 90.0
"""A guard against hanging; what is waited for comes in a moment on a machine that is not busy."""
ELSEWHERE = "center.example"
"""The browser takes the center for a host on the network: without TLS it trusts it less than loopback."""


class Browser:
    """A Chromium, and the address of the nerve center that it looks at."""

    def __init__(self, url: str, driver: webdriver.Chrome) -> None:
        self.url, self.driver = url, driver

    def open(self, path: str, width: int = 1360, height: int = 900, scheme: str = "light") -> None:
        """Show a page, as on a screen of that size."""
        self.command(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.driver.get(self.url + path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Pages opened in here do not renew themselves after a time, only when they are told to (`renew`)."""
        script = self.command("Page.addScriptToEvaluateOnNewDocument", source="window.setInterval = () => 0;")
        try:
            yield
        finally:
            self.command("Page.removeScriptToEvaluateOnNewDocument", **script)

    def renew(self) -> None:
        """Have the page ask for fresh data, as when its network comes back."""
        self.driver.execute_script("window.dispatchEvent(new Event('online'));")

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.driver.execute_cdp_cmd(name, arguments)
        return found

    def press(self, *keys: str) -> None:
        """Keys, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab(self, back: bool = False) -> None:
        """On to what the Tab key comes to next."""
        keys = ActionChains(self.driver)
        (
            keys.key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT)
            if back
            else keys.send_keys(Keys.TAB)
        ).perform()

    def tab_to(self, selector: str, back: bool = False) -> None:
        """On by the Tab key to the first element of a selector. Raises AssertionError where it is not come to."""
        for _ in range(400):
            self.tab(back)
            if self.driver.execute_script("return document.activeElement.matches(arguments[0])", selector):
                return
        raise AssertionError(f"the Tab key does not come to {selector}")

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def focused(self, attribute: str) -> str | None:
        """An attribute of what has the focus, read at one moment."""
        found: str | None = self.driver.execute_script(
            "return document.activeElement.getAttribute(arguments[0])", attribute
        )
        return found

    def focus_is_on(self, selector: str) -> bool:
        """Whether what has the focus is the first element of a selector."""
        return bool(
            self.driver.execute_script(
                "return document.activeElement === document.querySelector(arguments[0])", selector
            )
        )

    def texts(self, selector: str) -> list[str]:
        """What these elements say, read at one moment."""
        return list(
            self.driver.execute_script(
                "return Array.from(document.querySelectorAll(arguments[0]), (e) => e.textContent.trim())",
                selector,
            )
        )

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """The condition's first truthy value, while the page changes under it."""

        def look() -> Any:
            with suppress(NoSuchElementException, StaleElementReferenceException):
                return condition()
            return None

        return wait_for(look, what, WITHIN_S)

    def log_in(self, link: str) -> None:
        """By a link that works once, as a person does; `link` is its path."""
        self.open(link)
        self.find("main button").click()
        self.wait(lambda: self.texts("h1") == ["Fleet"], "the fleet after the login")

    def errors(self) -> list[str]:
        """What the browser has called an error since it was asked last."""
        return [item["message"] for item in self.driver.get_log("browser") if item["level"] == "SEVERE"]

    def check(self) -> None:
        """Nothing came from elsewhere, nothing was forbidden by the policy, and no hostile text became code."""
        assert self.foreign() == []
        told = self.errors()
        assert [text for text in told if "Content Security Policy" in text or "Uncaught" in text] == []

    def foreign(self) -> list[str]:
        """What of the page came from another host, or from a host's text that became code."""
        found = self.driver.execute_script(
            "return performance.getEntriesByType('resource').map((e) => e.name)"
        )
        hacked = ["code of a host's text ran"] if self.driver.title == "hacked" else []
        return [*hacked, *(name for name in found if not name.startswith(self.url + "/"))]


def chromium(profile: Path) -> webdriver.Chrome:
    """Debian's Chromium without a window, with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--hide-scrollbars",
        f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(90)
    return driver
