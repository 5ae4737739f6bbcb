"""What changed in a text, for people, and never what is secret.

Values of lines that look like passwords, tokens or keys are masked, long lines cut; SSH keys are shown as `ssh-keygen
-l` would: their fingerprint tells which key it is and opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from dio_daemon.text import safe

MOST_LINES = 60
MOST_LINE = 240
MOST_COMPARED_BYTES = 64 * 1024

_SECRET = re.compile(
    r"(?i)(\b[\w.-]*(?:pass(?:wd|word|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)"
    r"[\w.-]*[\"']?\s*(?:=>|[=:]|\s)\s*)([\"']?)([^\s\"',;]+)"
)
_AUTH = re.compile(r"(?i)\b((?:basic|bearer)\s+)([A-Za-z0-9+/=._-]{8,})")
_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*):([^\s/@]+)@", re.IGNORECASE)
_OPTION = re.compile(r"(?i)(\s-(?:p|u\s+\S+:)\s*|\s--(?:password|token|secret)[= ])(\S+)")
_LONG = re.compile(r"\b(?=[A-Za-z+/_-]*\d)(?=\d*[A-Za-z])[A-Za-z0-9+/_-]{32,}={0,2}(?![A-Za-z0-9])")
_HASH = re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy)\$[^\s:]+")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY = re.compile(r"\b((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+) ([A-Za-z0-9+/]{20,}={0,2})")
MASK = "********"


def masked(line: str) -> str:
    """A line without what is secret in it."""
    if _PEM.search(line):
        return MASK
    line = _KEY.sub(lambda found: f"{found[1]} {key_fingerprint(found[2])}", line)
    line = _HASH.sub(MASK, line)
    line = _URL.sub(rf"\1:{MASK}@", line)
    line = _AUTH.sub(rf"\1{MASK}", line)
    line = _SECRET.sub(rf"\1\2{MASK}", line)
    line = _OPTION.sub(rf"\1{MASK}", line)
    return _LONG.sub(lambda found: found[0] if "/" in found[0] else MASK, line)


def key_fingerprint(blob: str) -> str:
    """An SSH key's fingerprint, as `ssh-keygen -l` shows it."""
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return "(not a key)"
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode("ascii").rstrip("=")


def as_text(content: bytes | None) -> list[str] | None:
    """The lines of a text; None for what is none or is too large."""
    if content is None or len(content) > MOST_COMPARED_BYTES or b"\0" in content:
        return None
    return content.decode("utf-8", "replace").splitlines()


def diff(before: bytes | None, after: bytes | None, keys: bool = False) -> str | None:
    """A unified diff of one line of context, masked; None when either is no text.

    Args:
        before: the old content; empty for a file that was not there.
        after: the new content; empty for a file that is gone.
        keys: whether only keys' fingerprints and comments are to be shown.
    """
    import difflib  # only a change pays for it

    old, new = as_text(before), as_text(after)
    if old is None or new is None:
        return None
    show = _key_line if keys else masked
    private = False
    lines = []
    for line in list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]:
        private = private or bool(_PEM.search(line))
        body = MASK if private else show(line[1:])
        if "-----END" in line:
            private = False
        lines.append(line if line.startswith("@@") else line[:1] + safe(body, MOST_LINE))
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"… {len(lines) - MOST_LINES} more lines"]
    return "\n".join(lines)


def _key_line(line: str) -> str:
    found = _KEY.search(line)
    if found is None:
        return line if line.startswith("#") and len(line) < 80 else masked(line)
    comment = line[found.end() :].strip()
    options = masked(line[: found.start()])
    return f"{options}{found[1]} {key_fingerprint(found[2])} {comment}".strip()
