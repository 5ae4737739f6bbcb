"""The pages by a finger on a phone, and by a program that knows of roles and names alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.conftest import Site
from tests.browser.reader import Reader

pytestmark = pytest.mark.xdist_group("browser")
PHONE = (390, 844)


@pytest.fixture
def phone(site: Site) -> Iterator[Site]:
    site.command("Emulation.setTouchEmulationEnabled", enabled=True)
    yield site
    site.command("Emulation.setTouchEmulationEnabled", enabled=False)


def tap(site: Site, thing: WebElement) -> None:
    """Touch the middle of it, wherever it is on the page."""
    site.driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", thing)
    box = site.driver.execute_script(
        "const b = arguments[0].getClientRects()[0];"
        "const at = [b.x + b.width / 2, b.y + b.height / 2];"
        "return [...at, arguments[0].contains(document.elementFromPoint(...at))]",
        thing,
    )
    assert box[2], f"something lies over {thing.text!r}"
    site.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": box[0], "y": box[1]}])
    site.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def button(site: Site, text: str) -> WebElement:
    return next(each for each in site.all("main button") if each.text == text)


def test_a_host_and_its_threat_by_finger(phone: Site) -> None:
    host = phone.hosts[9]
    phone.open(f"/?q={host.agent_id}", *PHONE)
    tap(phone, phone.find("#hosts tbody th a"))
    phone.wait(lambda: phone.texts("h1") == [host.hostname], "the host")
    phone.wait(lambda: phone.find("#charts").get_attribute("data-loaded"), "its charts")
    before = phone.texts("#moment h2")[0]
    tap(phone, phone.find(".chart canvas"))
    phone.wait(lambda: phone.texts("#moment h2")[0] != before, "the processes of the moment touched")
    tap(phone, phone.find('[data-span="86400"]'))
    phone.wait(lambda: phone.find('[data-span="86400"]').get_attribute("aria-pressed") == "true", "a day")
    tap(phone, phone.find("#threats a"))
    phone.wait(lambda: phone.texts("#act"), "the threat")
    tap(phone, phone.find('textarea[name="comment"]'))
    phone.wait(lambda: phone.focused("name") == "comment", "the comment")
    phone.press("seen on the way")
    tap(phone, button(phone, "Acknowledge"))
    phone.wait(lambda: "acknowledged" in phone.texts("#state .tag"), "acknowledged")
    assert any("seen on the way" in text for text in phone.texts("#log li"))
    tap(phone, button(phone, "Reopen"))
    phone.wait(lambda: "open" in phone.texts("#state .tag"), "open again")
    tap(phone, next(each for each in phone.all("header nav a") if each.text == "Fleet"))
    phone.wait(lambda: phone.texts("h1") == ["Fleet"], "the fleet")
    phone.check()


def test_what_needs_attention_by_roles_and_names(site: Site) -> None:
    """Which host needs somebody, and that somebody takes it on, says why, and gives it back."""
    site.open("/")
    reader = Reader(site)
    attention = reader.one("region", "Open threats")
    first, host = reader.all("link", within=attention)[:2]
    title, hostname = reader.name(first), reader.name(host)
    reader.press(first)
    assert reader.name(reader.wait("heading", title)) == title
    assert reader.all("link", hostname, reader.one("main")), "whose it is"
    assert reader.one("table", within=reader.one("region", "Evidence"))
    reader.write(reader.one("textbox", "Comment"), "I look at it")
    reader.press(reader.one("button", "Acknowledge"))
    reader.wait("button", "Reopen")
    assert reader.all("StaticText", "acknowledged", reader.one("main"))
    told = reader.one("region", "What became of it")
    assert reader.all("StaticText", "I look at it", told)
    reader.press(reader.one("button", "Reopen"))
    reader.wait("button", "Acknowledge")
    site.check()
