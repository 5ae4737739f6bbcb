"""The command's own start: the agent without what it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dio_daemon.detect.median import median

_SCRIPT = """
import sys
from dio_daemon.start import load
load()
import requests
heavy = {"chardet", "charset_normalizer", "statistics", "decimal", "fractions", "difflib", "argparse", "_strptime"}
heavy |= {"html", "idna", "locale", "mimetypes", "zipfile"}
if sys.version_info < (3, 13):
    heavy.add("inspect")  # dataclasses asks it for those that have no docstring
print(sorted(heavy & set(sys.modules)), requests.Session().headers["Accept"])
import charset_normalizer
print(charset_normalizer.__file__ is not None)
"""

_SELDOM = """
import sys
from dio_daemon.start import load
load()
import dataclasses, http.server, requests
prepared = requests.Request("GET", "http://b\u00fccher.example/").prepare()
print(prepared.url, "idna" in sys.modules)
print(http.server.html.escape("<"), "html" in sys.modules)
print(requests.utils.zipfile.is_zipfile("/none"), "zipfile" in sys.modules)
import html.entities, inspect
print(html.entities.name2codepoint["lt"], inspect.isfunction(load))

@dataclasses.dataclass
class Point:
    x: int

print(Point.__doc__)
"""


def _printed(script: str) -> str:
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert done.stderr == ""
    return done.stdout


def test_the_agent_does_not_load_what_it_never_or_seldom_needs() -> None:
    """Nor does it warn of their versions; whoever wants one later gets the real one."""
    assert _printed(_SCRIPT) == "[] */*\nTrue\n"


def test_what_is_seldom_needed_is_there_when_it_is() -> None:
    url = "http://xn--bcher-kva.example/ True"
    assert _printed(_SELDOM) == f"{url}\n&lt; True\nFalse True\n60 True\nPoint(x: int)\n"


@pytest.mark.parametrize(
    ("figures", "middle"), [([3.0], 3.0), ([4.0, 1.0], 2.5), ([9.0, 1.0, 2.0], 2.0), ([4, 4, 1, 9], 4.0)]
)
def test_the_median(figures: list[float], middle: float) -> None:
    assert median(iter(figures)) == middle
