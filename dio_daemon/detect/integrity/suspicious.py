"""Signs of an intruder's hand in a text that the host runs: what ordinary administration seldom writes."""

from __future__ import annotations

import re
from typing import Final

MOST_BYTES = 64 * 1024

SIGNS: Final[tuple[tuple[str, re.Pattern[bytes]], ...]] = (
    ("a shell is connected to the network", re.compile(rb"/dev/(?:tcp|udp)/|\b(?:ba)?sh\s+-i\b")),
    ("netcat runs a program", re.compile(rb"\b(?:nc|ncat|netcat)\b[^\n]*\s-\w*[ec]\b")),
    ("socat runs a program", re.compile(rb"\bsocat\b[^\n]*\b(?:exec|system):", re.IGNORECASE)),
    (
        "a download is run at once",
        re.compile(rb"\b(?:curl|wget)\b[^\n|;]*\|\s*(?:sudo\s+)?(?:ba|da|z)?sh\b|\$\((?:curl|wget)\b"),
    ),
    (
        "a script opens a network connection",
        re.compile(rb"\b(?:python3?|perl|ruby|php)\b[^\n]*\bsocket\b", re.IGNORECASE),
    ),
    ("text is decoded and run", re.compile(rb"base64\s+(?:-d|--decode|-D)[^\n]*\|")),
    (
        "it runs something in a temporary folder",
        re.compile(rb"(?:^|[\s=\"';&|(])/(?:tmp|var/tmp|dev/shm)/[\w.-]*", re.MULTILINE),
    ),
    (
        "it runs something in a hidden folder",
        re.compile(rb"(?:^|[\s=\"';&|])/[\w./-]*/\.[\w-]+/[\w.-]+", re.MULTILINE),
    ),
    ("a setuid bit is set", re.compile(rb"\bchmod\s+(?:[0-7]?[4-7][0-7]{3}|[ug]*\+s)\b")),
    ("everybody may become root", re.compile(rb"^\s*ALL\s+ALL\s*=", re.MULTILINE)),
    ("no password is needed to become root", re.compile(rb"^[^#\n]*\bNOPASSWD:\s*ALL", re.MULTILINE)),
    (
        "the shell history is turned off",
        re.compile(
            rb"^[^#\n]*(?:\bHISTFILE=(?:/dev/null|['\"]{2}|$)|\bunset\s+HISTFILE\b|\bHIST(?:FILE)?SIZE=0\b|\bset\s+\+o\s+history\b)",
            re.MULTILINE,
        ),
    ),
)


def signs(content: bytes | None, before: bytes | None = None) -> list[str]:
    """What of this is in a content and was not in the one before."""
    if not content:
        return []
    content, before = content[:MOST_BYTES], (before or b"")[:MOST_BYTES]
    return [words for words, pattern in SIGNS if pattern.search(content) and not pattern.search(before)]
