"""The command's own start: the agent without what it does not need."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from dio_daemon.detect.median import median

_SCRIPT = """
import sys
from dio_daemon.start import load
load()
loaded = set(sys.modules)
import requests
heavy = {"chardet", "charset_normalizer", "statistics", "decimal", "fractions", "difflib", "argparse", "_strptime"}
heavy |= {"html", "idna", "locale", "mimetypes", "zipfile", "shutil", "tempfile", "urllib.request", "email.header"}
heavy |= {"email.quoprimime", "calendar", "stringprep"}
if sys.version_info < (3, 13):
    heavy.add("inspect")  # dataclasses asks it for those that have no docstring
print(sorted(heavy & loaded), requests.Session().headers["Accept"])
import charset_normalizer
print(charset_normalizer.__file__ is not None)
"""

_SELDOM = """
import sys
from dio_daemon.start import load
load()
import dataclasses, email, email.policy, http.cookiejar, http.server, requests, socket, urllib
prepared = requests.Request("GET", "http://b\u00fccher.example/").prepare()
print(prepared.url, "idna" in sys.modules)
print(http.server.html.escape("<"), "html" in sys.modules)
print(requests.utils.zipfile.is_zipfile("/none"), "zipfile" in sys.modules)
print(socket.gethostbyname("127.0.0.1"), "b\u00fccher".encode("idna"), "stringprep" in sys.modules)
print(requests.compat.parse_http_list('a="1, 2", b'), "urllib.request" in sys.modules)
print(http.cookiejar.http2time("Thu, 01 Jan 1970 00:01:00 GMT"), "calendar" in sys.modules)
print(requests.cookies.calendar.timegm((1970, 1, 1, 0, 0, 1)), urllib.request.quote("\u00e4"))
print(email.message_from_string("Subject: =?utf-8?q?=C3=A4?=\\n\\nx", policy=email.policy.default)["subject"])
import html.entities, inspect, shutil, tempfile, urllib.request
print(shutil.which("sh") is not None, tempfile.gettempdir(), urllib.request.Request("http://h/").host)
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
    assert _printed(_SELDOM).splitlines() == [
        "http://xn--bcher-kva.example/ True",
        "&lt; True",
        "False True",
        "127.0.0.1 b'xn--bcher-kva' True",
        "['a=\"1, 2\"', 'b'] True",
        "60.0 True",
        "1 %C3%A4",
        "\u00e4",
        f"True {tempfile.gettempdir()} h",
        "60 True",
        "Point(x: int)",
    ]


@pytest.mark.parametrize(
    ("figures", "middle"), [([3.0], 3.0), ([4.0, 1.0], 2.5), ([9.0, 1.0, 2.0], 2.0), ([4, 4, 1, 9], 4.0)]
)
def test_the_median(figures: list[float], middle: float) -> None:
    assert median(iter(figures)) == middle
