"""The pages in a real Chromium: by mouse and keyboard, on a phone, live, and with what hosts may not do to them."""

from __future__ import annotations

import time

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.browser import fleet
from tests.browser.browser import ELSEWHERE
from tests.browser.conftest import PASSWORD, Site

pytestmark = pytest.mark.xdist_group("browser")


def host_path(site: Site) -> str:
    return f"/hosts/{site.hosts[0].agent_id}"


def names(site: Site) -> list[str]:
    return site.texts("#hosts tbody th > a:first-child")


def charts_are_drawn(site: Site, times: int = 1) -> None:
    site.wait(lambda: int(site.find("#charts").get_attribute("data-loaded") or 0) >= times, "charts")


def test_the_fleet_by_mouse_and_keyboard(site: Site) -> None:
    site.open("/")
    assert site.texts("#total") == ["60 hosts under watch"]
    assert len(names(site)) == 50
    assert fleet.HOSTILE in names(site)
    assert site.all("#hosts svg.spark polyline")
    assert [text for text in site.texts("main time") if "UTC" in text] == [], "times are in the viewer's zone"
    site.picture("fleet")
    site.find("body").send_keys(Keys.TAB)
    assert site.driver.switch_to.active_element.text == "Skip to the content"
    site.find("#sort-cpu").send_keys(Keys.ENTER)
    site.wait(
        lambda: site.find("#hosts th[aria-sort]").get_attribute("aria-sort") == "descending", "sorted by cpu"
    )
    shares = [float(text.split()[0]) for text in site.texts('#hosts td[data-name="CPU"]')]
    assert shares == sorted(shares, reverse=True)
    site.find("#page-next").click()
    site.wait(lambda: len(names(site)) == 10, "the second page")
    site.find('input[name="q"]').send_keys("mail0", Keys.ENTER)
    site.wait(
        lambda: sorted(names(site)) == [f"mail{n:02}.example.net" for n in range(1, 10)], "what was searched"
    )
    Select(site.find('select[name="label"]')).select_by_value("env=prod")
    site.find(".filters button").click()
    site.wait(
        lambda: names(site) and all("env=prod" in text for text in site.texts("#hosts tbody th")), "the label"
    )
    site.check()


def test_a_host_with_its_charts(site: Site) -> None:
    site.open(host_path(site), height=1000)
    charts_are_drawn(site)
    for box in site.all(".chart"):
        assert box.is_displayed()
    painted = site.driver.execute_script(
        "const c = document.querySelector('.chart canvas');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v !== 0)"
    )
    assert painted
    site.wait(lambda: "complete" in site.texts("td[data-load]")[0], "continuity, which comes after the page")
    site.picture("host")
    site.open(host_path(site), height=1000, scheme="dark")
    charts_are_drawn(site)
    site.picture("host-dark")
    site.open(host_path(site), height=1000)
    charts_are_drawn(site)
    canvas = site.find(".chart canvas")
    before = site.texts("#moment h2")[0]
    canvas.send_keys(Keys.HOME)
    site.wait(lambda: site.texts("#moment h2")[0] != before, "the processes of the moment pointed at")
    assert fleet.HOSTILE in site.texts("#moment tbody th")
    assert " %" in (canvas.get_attribute("aria-label") or "")
    ActionChains(site.driver).move_to_element(canvas).click_and_hold().move_by_offset(
        60, 0
    ).release().perform()
    charts_are_drawn(site, 2)
    site.wait(lambda: site.find("#zoom-out").is_displayed() and site.find("#span").text, "the span zoomed to")
    site.find("#zoom-out").click()
    site.wait(lambda: not site.find("#zoom-out").is_displayed(), "the span before")
    site.find('[data-span="31622400"]').click()
    site.wait(lambda: site.find('[data-span="31622400"]').get_attribute("aria-pressed") == "true", "a year")
    site.check()


def test_a_threat_is_taken_on_and_settled(site: Site) -> None:
    site.open("/threats")
    assert "A new setuid file that no package knows" in site.texts("tbody th a")[0]
    site.picture("threats")
    site.driver.find_element(By.LINK_TEXT, "A disk will be full in 5 hours").click()
    site.wait(lambda: site.texts("h1") == ["A disk will be full in 5 hours"], "the threat")
    assert "2.1 GiB" in site.texts(
        "tbody td"
    ) and "/var/log/journal, /var/lib/postgresql/15/main" in site.texts("td")
    site.find("textarea").send_keys(fleet.HOSTILE)
    site.driver.find_element(By.XPATH, "//button[text()='Acknowledge']").click()
    site.wait(lambda: "acknowledged" in site.texts("#state .tag"), "acknowledged")
    assert any(fleet.HOSTILE in text for text in site.texts("#log li"))
    Select(site.find('select[name="span"]')).select_by_value("28800")
    site.driver.find_element(By.XPATH, "//button[text()='Silence']").click()
    site.wait(lambda: "silenced" in site.texts("#state .tag"), "silenced")
    site.picture("threat")
    site.driver.find_element(By.XPATH, "//button[text()='Resolve']").click()
    site.wait(lambda: "resolved" in site.texts("#state .tag"), "resolved")
    site.check()


def test_the_pages_that_are_looked_at_less(site: Site) -> None:
    for name, path in (
        ("groups", "/?group=env"),
        ("events", "/events"),
        ("policies", "/policies"),
        ("notifications", "/notifications"),
        ("people", "/people"),
    ):
        site.open(path, scheme="dark")
        site.wait(lambda: len(site.texts("h1")) == 1, f"the page of {name}")
        site.picture(name)
        site.check()


def test_the_commands_that_enroll_a_host(site: Site) -> None:
    site.open("/enroll")
    site.find('textarea[name="labels"]').send_keys("env=prod")
    site.find("main form button").click()
    command = site.wait(lambda: site.find("#enroll").text, "the commands")
    assert command.startswith(f"sudo dioctl enroll {site.center.url}")
    site.picture("enroll")
    button = site.find('[data-copy="enroll"]')
    button.click()
    site.wait(lambda: button.text in ("Copied", "Press Ctrl+C"), "what the button says")
    name = site.center.enroll([site.find("#install").text, command])
    site.open(f"/?q={name}")
    assert names(site) == [name]
    assert "env=prod" in site.texts("#hosts .label")
    site.check()


def test_every_page_fits_a_phone_and_is_named_for_those_who_do_not_see_it(site: Site) -> None:
    threat = "/threats/1"
    for path in (
        "/",
        host_path(site),
        "/threats",
        threat,
        "/events",
        "/events/states",
        "/events/audit",
        "/policies",
        "/enroll",
        "/account",
    ):
        site.open(path, width=375, height=800, scheme="dark")
        if path == "/":
            site.picture("phone")
        wide = site.driver.execute_script("return document.documentElement.scrollWidth")
        assert wide == 375, path
        nodes = site.command("Accessibility.getFullAXTree")["nodes"]
        for node in nodes:
            role = node.get("role", {}).get("value")
            if role in ("link", "button", "textbox", "combobox", "searchbox", "image") and not node.get(
                "ignored"
            ):
                assert node.get("name", {}).get("value"), (path, node)
        roles = [node.get("role", {}).get("value") for node in nodes]
        assert {"main", "banner", "navigation", "heading"} <= set(roles), path
        site.check()


def test_logging_in_without_tls_from_another_host(site: Site) -> None:
    site.driver.get(f"http://{ELSEWHERE}:{site.center.url.rpartition(':')[2]}/threats")
    site.find('input[name="name"]').send_keys("ann")
    site.find('input[name="password"]').send_keys(PASSWORD, Keys.ENTER)
    site.wait(lambda: site.texts("h1") == ["Threats"], "where one wanted to go before the login")
    site.find(".who button").click()
    site.wait(lambda: site.texts("h1") == ["Log in"], "logged out by a form with the session's token")


@pytest.mark.living
def test_a_page_lives_while_the_center_goes_and_comes_back(site: Site) -> None:
    host = site.hosts[12]
    site.open(f"/?q={host.agent_id}")
    now = time.time()
    host.tell("samples", "sample", (now, host.sample(now, cpu=99.0)))
    site.wait(
        lambda: "99 %" in site.texts('#hosts td[data-name="CPU"]'),
        "the new figure, without loading the page again",
    )
    site.center.kill()
    site.wait(lambda: "does not answer since" in site.find("#away").text, "that the center is away")
    assert "99 %" in site.texts('#hosts td[data-name="CPU"]'), "what was known stays"
    site.center.start()
    site.center.healthy()
    site.wait(lambda: not site.find("#away").is_displayed(), "that the center is back")
    assert site.texts("h1") == ["Fleet"], "still logged in"
