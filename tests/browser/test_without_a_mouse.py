"""The pages without a mouse, and what they tell those who do not see them well."""

from __future__ import annotations

import re
import urllib.parse
import urllib.request

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.accessibility import faults, stops
from tests.browser.browser import ELSEWHERE
from tests.browser.conftest import PASSWORD, Site

pytestmark = pytest.mark.xdist_group("browser")
WIDE, PHONE = (1360, 900), (320, 700)


class OtherSession:
    """The same person, logged in from another browser."""

    def __init__(self, site: Site) -> None:
        self._url = site.url
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        link = site.center.control("user", "login-link", "ann").strip()
        found = re.search('name="csrf" value="([^"]*)"', self._get(link))
        assert found is not None
        form = urllib.parse.urlencode({"csrf": found[1], "token": link.rpartition("/")[2]}).encode()
        with self._opener.open(self._url + "/login/link", form, timeout=60):
            assert self.alive()

    def alive(self) -> bool:
        return "<h1>Log in</h1>" not in self._get("/account")

    def _get(self, path: str) -> str:
        with self._opener.open(self._url + path, timeout=60) as answer:
            return str(answer.read().decode())


def paths(site: Site) -> list[str]:
    """Every page, those with data filled."""
    return [
        *("/", "/?group=env", "/?q=nothing-is-called-so", f"/hosts/{site.hosts[0].agent_id}"),
        *("/threats", "/threats?state=all", "/threats/1", "/events", "/events/states", "/events/audit"),
        *("/policies", "/enroll", "/notifications", "/people", "/account", "/hosts/agent-0000000000000000"),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_everybody_can_read_every_page(site: Site, size: tuple[int, int], scheme: str) -> None:
    found = {}
    for path in paths(site):
        site.open(path, *size, scheme=scheme)
        if wrong := faults(site):
            found[path] = wrong
    assert found == {}


def test_the_tab_key_comes_to_everything_and_one_sees_where_it_is(site: Site) -> None:
    for path in ("/threats/1", f"/hosts/{site.hosts[0].agent_id}", "/people", "/notifications", "/policies"):
        site.open(path, *WIDE)
        if site.all("#charts"):
            site.wait(lambda: site.find("#charts").get_attribute("data-loaded"), "the charts")
            site.wait(lambda: not site.all("[data-load] a"), "what comes after the page")
        expected = site.driver.execute_script(
            "const all = 'a[href], button, input:not([type=hidden]), select, textarea, [tabindex]';"
            "return [...document.querySelectorAll(all)].filter((e) => e.checkVisibility()).length"
        )
        found = stops(site)
        assert found[0] == "Skip to the content", path
        assert len(found) == expected, (path, found)


def test_the_focus_stays_where_it_is_while_the_page_is_renewed(site: Site) -> None:
    """Who is on their way through a list is not thrown back to the top by fresh data."""
    site.open("/", *WIDE)
    site.tab_to("#hosts tbody tr:nth-child(3) a.label:last-of-type")
    told = site.focused("href")
    site.driver.execute_script("document.querySelector('#hosts caption').textContent = 'of before';")
    site.renew()
    site.wait(lambda: site.texts("#hosts caption") != ["of before"], "a new list")
    assert site.focused("href") == told
    assert site.focus_is_on("#hosts tbody tr:nth-child(3) a.label:last-of-type")
    site.check()


def test_the_focus_stays_on_the_processes_while_they_are_renewed(site: Site) -> None:
    site.open(f"/hosts/{site.hosts[0].agent_id}", *WIDE)
    site.wait(lambda: site.find("#charts").get_attribute("data-loaded"), "the charts")
    site.tab_to("#moment section")
    label = site.focused("aria-labelledby")
    site.driver.execute_script("document.activeElement.dataset.before = 'yes';")
    site.renew()
    site.wait(lambda: not site.all("#moment [data-before]"), "other processes")
    assert site.focused("aria-labelledby") == label == "processes-head"
    site.check()


def test_the_charts_by_keyboard(site: Site) -> None:
    site.open(f"/hosts/{site.hosts[0].agent_id}", *WIDE)

    def drawn() -> int:
        return int(site.find("#charts").get_attribute("data-loaded") or 0)

    site.wait(drawn, "the charts")
    site.tab_to('[data-span="21600"]')
    before = drawn()
    site.press(Keys.ENTER)
    site.wait(lambda: drawn() > before, "six hours")
    assert site.find('[data-span="21600"]').get_attribute("aria-pressed") == "true"
    site.tab_to(".chart canvas")
    said = site.focused("aria-label")
    site.press(Keys.HOME)
    first = site.focused("aria-label")
    assert first != said, "what the pointer stands on is told"
    site.press(Keys.ARROW_RIGHT)
    assert site.focused("aria-label") != first
    before = drawn()
    site.press("+")
    site.wait(lambda: drawn() > before and site.find("#span").text, "zoomed in")
    assert site.focus_is_on(".chart canvas")
    site.press("+")
    site.wait(lambda: drawn() > before + 1, "and once more")
    site.press(Keys.ESCAPE)
    site.wait(lambda: drawn() > before + 2, "one step back")
    site.tab_to("#zoom-out", back=True)
    site.press(Keys.ENTER)
    site.wait(lambda: not site.find("#zoom-out").is_displayed(), "back where it began")
    assert site.focused("data-span") == "21600", "the focus is where one goes on"
    site.check()


def test_a_threat_by_keyboard(site: Site) -> None:
    """Silenced, the silence ended, acknowledged with a comment, reopened: no hand leaves the keys."""
    site.open(f"/threats?host={site.hosts[6].agent_id}", *WIDE)
    site.tab_to("#list tbody th a")
    site.press(Keys.ENTER)
    site.wait(lambda: site.texts("#act"), "the threat")
    where = site.driver.current_url
    site.tab_to('select[name="span"]')
    site.press(Keys.ARROW_DOWN)
    chosen = site.find('select[name="span"]').get_attribute("value")
    site.tab_to('form[action$="/silence"] input[name="reason"]')
    site.press("a known one", Keys.ENTER)
    site.wait(lambda: "silenced" in site.texts("#state .tag"), "silenced")
    assert any("a known one" in text for text in site.texts(".card li")), chosen
    site.tab_to('form[action$="/end"] button')
    site.press(Keys.SPACE)
    site.wait(lambda: "silenced" not in site.texts("#state .tag"), "the end of the silence")
    site.tab_to('textarea[name="comment"]')
    site.press("seen by Ann")
    site.tab_to('button[formaction$="/acknowledge"]')
    site.press(Keys.ENTER)
    site.wait(lambda: "acknowledged" in site.texts("#state .tag"), "acknowledged")
    assert any("seen by Ann" in text for text in site.texts("#log li"))
    site.tab_to('button[formaction$="/reopen"]')
    site.press(Keys.ENTER)
    site.wait(lambda: "open" in site.texts("#state .tag"), "open again")
    assert site.driver.current_url == where
    site.check()


def test_a_host_that_is_worked_on_by_keyboard(site: Site) -> None:
    """All about it is silenced, and that is ended."""
    site.open(f"/hosts/{site.hosts[7].agent_id}", *WIDE)
    site.tab_to('form[action$="/silence"] select[name="span"]')
    site.press(Keys.ARROW_DOWN)
    site.tab_to('form[action$="/silence"] input[name="reason"]')
    site.press("a new disk", Keys.ENTER)
    site.wait(lambda: "silenced" in site.texts("#state .tag"), "silenced")
    assert any("this host until" in text and "a new disk" in text for text in site.texts(".card li"))
    site.picture("silenced")
    site.tab_to('form[action$="/end"] button')
    site.press(Keys.SPACE)
    site.wait(lambda: "silenced" not in site.texts("#state .tag"), "the end of it")
    site.check()


def test_logging_in_and_out_by_keyboard(site: Site) -> None:
    site.driver.get(f"http://{ELSEWHERE}:{site.url.rpartition(':')[2]}/login")
    site.tab_to('input[name="name"]')
    site.press("ann")
    site.tab()
    site.press(PASSWORD, Keys.ENTER)
    site.wait(lambda: site.texts("h1") == ["Fleet"], "the fleet after the login")
    site.tab_to(".who button")
    site.press(Keys.SPACE)
    site.wait(lambda: site.texts("h1") == ["Log in"], "logged out")


def test_a_new_host_by_keyboard(site: Site) -> None:
    """A token is made and withdrawn."""
    site.open("/", *WIDE)
    site.tab_to('header a[href="/enroll"]')
    site.press(Keys.ENTER)
    site.wait(lambda: site.texts("h1") == ["Enroll a host"], "the page")
    before = len(site.all('form[action$="/withdraw"]'))
    site.tab_to('select[name="uses"]')
    site.press(Keys.ARROW_DOWN)
    site.tab_to('textarea[name="labels"]')
    site.press("rack=7")
    site.tab()
    site.press(Keys.ENTER)
    site.wait(lambda: "sudo dioctl enroll" in site.texts("#enroll")[0], "the commands")
    assert "0 in, 10 to come" in site.texts('td[data-name="Hosts"]')
    site.tab_to('[data-copy="enroll"]')
    site.press(Keys.SPACE)
    site.wait(lambda: site.texts('[data-copy="enroll"]')[0] != "Copy", "what the button says")
    site.tab_to('form[action$="/withdraw"] button')
    site.press(Keys.ENTER)
    site.wait(lambda: len(site.all('form[action$="/withdraw"]')) == before, "the token is gone")
    site.check()


def test_people_and_programs_by_keyboard(site: Site) -> None:
    site.open("/people", *WIDE)
    site.tab_to('form[action="/people"] input[name="name"]')
    site.press("bob")
    site.tab()
    site.press(Keys.ARROW_DOWN)
    site.tab()
    site.press("another horse battery", Keys.ENTER)
    site.wait(lambda: "bob" in site.texts("tbody th"), "the person")
    assert site.find('[aria-label="Role of bob"]').get_attribute("value") == "operator"
    site.tab_to('[aria-label="Disable bob"]')
    site.press(Keys.SPACE)
    site.wait(lambda: site.all('[aria-label="Enable bob"]'), "disabled")
    site.tab_to('form[action="/people/programs"] input[name="name"]')
    site.press("grafana", Keys.ENTER)
    site.wait(lambda: len(site.texts("#token")) == 1, "the token of the program")
    site.tab_to('[aria-label="Withdraw grafana"]')
    site.press(Keys.ENTER)
    site.wait(lambda: "grafana" not in site.texts("tbody th"), "withdrawn")
    site.check()


def test_another_session_is_ended_by_keyboard(site: Site) -> None:
    other = OtherSession(site)
    site.open("/account", *WIDE)
    before = len(site.all('form[action^="/account/sessions/"]'))
    site.tab_to('form[action^="/account/sessions/"] button')
    site.press(Keys.SPACE)
    site.wait(lambda: len(site.all('form[action^="/account/sessions/"]')) == before - 1, "one less")
    while site.all('form[action^="/account/sessions/"]'):
        left = len(site.all('form[action^="/account/sessions/"]'))
        site.tab_to('form[action^="/account/sessions/"] button')
        site.press(Keys.ENTER)
        site.wait(lambda left=left: len(site.all('form[action^="/account/sessions/"]')) < left, "one less")
    assert not other.alive()
    assert site.texts("h1") == ["ann"], "one's own goes on"
    site.check()


def test_what_is_normal_by_keyboard(site: Site) -> None:
    """A finding is marked as normal where a label is, and that is taken back; a policy is set and removed."""
    site.open(f"/threats?host={site.hosts[6].agent_id}", *WIDE)
    site.tab_to("#list tbody th a")
    site.press(Keys.ENTER)
    site.wait(lambda: site.texts("#act"), "the threat")
    site.tab_to('form[action$="/tolerate"] select[name="where"]')
    site.press(Keys.ARROW_DOWN)
    label = str(site.find('form[action$="/tolerate"] select[name="where"]').get_property("value"))
    assert "=" in label
    site.tab_to('form[action$="/tolerate"] input[name="reason"]')
    site.driver.execute_script("window.before = true")
    site.press("it is always so", Keys.ENTER)
    site.wait(lambda: not site.driver.execute_script("return window.before"), "the form is sent")
    site.open("/policies")
    site.wait(lambda: any("it is always so" in text for text in site.texts("tbody td")), "what is normal")
    assert any(label in text for text in site.texts("tbody td"))
    site.tab_to('form[action^="/policies/tolerances/"] button')
    site.press(Keys.SPACE)
    site.wait(lambda: not any("it is always so" in text for text in site.texts("tbody td")), "no longer")
    site.tab_to('form input[name="label"]:not([type=hidden])')
    site.press("env=prod")
    site.tab()
    site.press("30")
    site.tab()
    site.tab()
    site.press(Keys.ENTER)
    site.wait(lambda: any(text.startswith("env=prod:") for text in site.texts("summary")), "the policy")
    site.tab_to("summary")
    site.press(Keys.ENTER)
    site.tab_to('details[open] input[name="interval_s"]')
    site.press(Keys.BACKSPACE * 5)
    site.tab_to("details[open] button")
    site.press(Keys.ENTER)
    site.wait(lambda: not site.all("summary"), "the policy is removed")
    site.check()


def test_a_table_by_keyboard_while_the_page_lives(site: Site) -> None:
    """What has the focus keeps it when the part around it is replaced."""
    site.open("/?sort=hostname", *WIDE)
    site.tab_to("#sort-memory")
    site.driver.execute_script(
        "window.kept = document.getElementById('hosts');"
        "kept.querySelector('caption').textContent = 'another';"
        "document.dispatchEvent(new Event('visibilitychange'));"
    )
    site.wait(lambda: site.driver.execute_script("return !document.contains(window.kept)"), "a new table")
    assert site.focused("id") == "sort-memory"
    site.press(Keys.ENTER)
    site.wait(lambda: "sort=-memory" in site.driver.current_url, "sorted")
    assert site.driver.find_element(By.CSS_SELECTOR, "th[aria-sort]").text.startswith("Memory")
    site.check()
