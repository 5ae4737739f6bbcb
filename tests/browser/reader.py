"""A screen reader, as far as a program can be one: it knows roles and names, and nothing of how a page looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.browser.browser import Browser

Node = dict[str, Any]


class Reader:
    """Finds things of the page by role and name, and does with them what assistive technology can do."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        browser.command("DOM.enable")

    def all(self, role: str, name: str = "", within: Node | None = None) -> list[Node]:
        """What has this role, and `name` in its name, in the order in which it is read out."""
        found = self._below(within) if within is not None else self._tree()
        return [node for node in found if _value(node, "role") == role and name in _value(node, "name")]

    def one(self, role: str, name: str = "", within: Node | None = None) -> Node:
        """The first of them. Raises AssertionError where there is none."""
        found = self.all(role, name, within)
        assert found, f"there is no {role} {name!r}"
        return found[0]

    def name(self, node: Node) -> str:
        return _value(node, "name")

    def press(self, node: Node) -> None:
        """Do what the thing is for."""
        self._call(node, "function () { this.focus(); this.click(); }")

    def write(self, node: Node, text: str) -> None:
        """Type into it."""
        self._browser.command("DOM.focus", backendNodeId=node["backendDOMNodeId"])
        self._browser.command("Input.insertText", text=text)

    def wait(self, role: str, name: str) -> Node:
        """The first of its kind, once it is there."""
        found: list[Node] = self._browser.wait(lambda: self.all(role, name), f"{role} {name!r}")
        return found[0]

    def _call(self, node: Node, function: str) -> None:
        reference = self._browser.command("DOM.resolveNode", backendNodeId=node["backendDOMNodeId"])["object"]
        self._browser.command(
            "Runtime.callFunctionOn", objectId=reference["objectId"], functionDeclaration=function
        )

    def _tree(self) -> list[Node]:
        nodes: list[Node] = self._browser.command("Accessibility.getFullAXTree")["nodes"]
        return nodes

    def _below(self, top: Node) -> Iterator[Node]:
        nodes = {node["nodeId"]: node for node in self._tree()}
        pending = list(top.get("childIds", []))
        while pending:
            node = nodes.get(pending.pop(0))
            if node is not None:
                pending = [*node.get("childIds", []), *pending]
                yield node


def _value(node: Node, key: str) -> str:
    return str(node.get(key, {}).get("value", "")) if not node.get("ignored") else ""
