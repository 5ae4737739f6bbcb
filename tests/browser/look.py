"""Looks at every page of a nerve center that runs elsewhere, and prints as JSON what is wrong with each.

    python -m tests.browser.look [--look NAME] [--host NAME] [--axe FILE] [--pictures FOLDER] ADDRESS LINK TOKEN

ADDRESS is the center's, LINK a path that logs an admin in, TOKEN one for enrollment: hosts of all kinds are told to the
center first, those of `fleet`. FILE is axe.min.js of axe-core, to ask that as well.
"""

from __future__ import annotations

import argparse
import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.browser import fleet
from tests.browser.accessibility import faults
from tests.browser.browser import Browser, chromium

LOOKS = {"wide": (1360, 900, "light"), "wide-dark": (1360, 900, "dark"), "phone": (390, 800, "dark")}
PAGES = {
    "fleet": "/",
    "groups": "/?group=env",
    "nothing-found": "/?q=nothing-is-called-so",
    "threats": "/threats",
    "all-threats": "/threats?state=all",
    "events": "/events",
    "states": "/events/states",
    "audit": "/events/audit",
    "policies": "/policies",
    "enroll": "/enroll",
    "notifications": "/notifications",
    "people": "/people",
    "account": "/account",
    "wrong-address": "/hosts/agent-0000000000000000",
}
_AXE = "axe.run().then((found) => arguments[0](found.violations), (why) => arguments[0]([{id: String(why)}]))"


def look(
    browser: Browser, pages: dict[str, str], looks: list[str], axe: str | None, pictures: Path | None
) -> dict[str, Any]:
    """What is wrong, by page and look; without what is right."""
    found: dict[str, Any] = {}
    for name, path in pages.items():
        for kind in looks:
            width, height, scheme = LOOKS[kind]
            browser.open(path, width, height, scheme)
            if browser.all("#charts"):
                browser.wait(lambda: browser.find("#charts").get_attribute("data-loaded"), "the charts")
                browser.wait(lambda: "Check" not in browser.texts("td[data-load]"), "the continuity")
            wrong: list[Any] = faults(browser)
            if axe is not None:
                browser.driver.execute_script(axe)
                wrong += [
                    [item["id"], item.get("impact"), [node["html"][:200] for node in item.get("nodes", [])]]
                    for item in browser.driver.execute_async_script(_AXE)
                ]
            wrong += browser.foreign()
            # That an address leads nowhere is an error in the browser's own list.
            wrong += [text for text in browser.errors() if not (name == "wrong-address" and "404" in text)]
            if pictures is not None:
                shot = browser.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
                (pictures / f"{name}-{kind}.png").write_bytes(base64.b64decode(shot["data"]))
            if wrong:
                found[f"{name} {kind}"] = wrong
    return found


def main() -> None:
    """Fill, log in, look."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--axe", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--look", action="append", choices=LOOKS, help="all, unless some are named")
    parser.add_argument("--host", help="one that really reports there")
    parser.add_argument("--filled", action="store_true", help="tell the center of no hosts")
    for name in ("address", "link", "token"):
        parser.add_argument(name)
    given = parser.parse_args()
    if not given.filled:
        fleet.trouble(given.address, given.token)
        fleet.fill(given.address, given.token)
    axe = given.axe.read_text(encoding="utf-8") if given.axe else None
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        driver = chromium(Path(folder))
        try:
            browser = Browser(given.address, driver)
            browser.log_in(given.link)
            pages = dict(PAGES)
            for name, start, link in (
                ("host", "/?q=web01", "#hosts tbody th a"),
                ("threat", "/threats", "#list tbody th a"),
                ("stopped-host", "/?q=stopped", "#hosts tbody th a"),
                *([("real-host", f"/?q={given.host}", "#hosts tbody th a")] if given.host else []),
            ):
                browser.open(start)
                pages[name] = str(browser.find(link).get_dom_attribute("href"))
            print(json.dumps(look(browser, pages, given.look or list(LOOKS), axe, given.pictures)))
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
