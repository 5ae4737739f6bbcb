"""What a page must have for those who do not see it well, or have no mouse: asked of the page as it is drawn."""

from __future__ import annotations

from pathlib import Path

from tests.browser.browser import Browser

_FAULTS = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_NEEDS_A_NAME = ("link", "button", "textbox", "combobox", "searchbox", "image", "checkbox", "table", "region")
_LANDMARKS = {"main", "banner", "navigation", "heading"}


def faults(browser: Browser, landmarks: bool = True) -> list[str]:
    """What is wrong with the page that is open."""
    found: list[str] = browser.driver.execute_script(_FAULTS)
    nodes = [
        node for node in browser.command("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")
    ]
    roles = {node["role"]["value"] for node in nodes}
    if landmarks:
        found += [f"no {role}" for role in _LANDMARKS - roles]
    for node in nodes:
        role = node["role"]["value"]
        if role in _NEEDS_A_NAME and role != "table" and not node.get("name", {}).get("value"):
            found.append(f"a {role} without a name: {node.get('properties')}")
    return found


def stops(browser: Browser, most: int = 400) -> list[str]:
    """What the Tab key comes to, one after the other, from the top of the page; each must show that it has the focus.

    Raises AssertionError for one that does not, and where the end of the page is not reached.
    """
    found: list[str] = []
    browser.driver.execute_script("document.activeElement.blur(); scrollTo(0, 0);")
    for _ in range(most):
        browser.tab()
        at = browser.driver.execute_script(
            "const e = document.activeElement; const s = getComputedStyle(e);"
            "return e === document.body ? null : [e.id || e.name || e.textContent.trim() || e.tagName,"
            " s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1];"
        )
        if at is None or (found and at[0] == found[0]):
            return found
        assert at[1], f"{at[0]} does not show that it has the focus"
        found.append(at[0])
    raise AssertionError(f"more than {most} stops")
