"""Signs of an intruder's hand in a text that the host runs: what ordinary administration seldom writes."""

from __future__ import annotations

import re
from typing import Final

MOST_BYTES = 1 << 20
"""Of a content that is looked through; the patterns take time that grows with its length alone."""

Signs = tuple[tuple[str, re.Pattern[bytes]], ...]
"""What a sign says, in words, and how it looks."""

BACKDOORS: Final[Signs] = (
    ("a shell is connected to the network", re.compile(rb"/dev/(?:tcp|udp)/|\b(?:ba)?sh\s+-i\b")),
    ("netcat runs a program", re.compile(rb"\b(?:nc|ncat|netcat)\b[^\n]{0,400}\s-\w{0,20}[ec]\b")),
    ("socat runs a program", re.compile(rb"\bsocat\b[^\n]{0,400}\b(?:exec|system):", re.IGNORECASE)),
    (
        "a download is run at once",
        re.compile(
            rb"\b(?:curl|wget)\b[^\n|;]{0,400}\|\s{0,20}(?:sudo\s{1,20})?(?:ba|da|z)?sh\b|\$\((?:curl|wget)\b"
        ),
    ),
    (
        "a script opens a network connection",
        re.compile(rb"\b(?:python3?|perl|ruby|php)\b[^\n]{0,400}\bsocket\b", re.IGNORECASE),
    ),
    (
        "text is decoded and run",
        re.compile(
            rb"base64\s{1,20}(?:-d|--decode|-D)[^\n]{0,400}\||\b(?:exec|eval)\s{0,20}\([^\n]{0,100}\bb64decode\b"
        ),
    ),
)
"""A way in or out, whatever the file is for."""

SIGNS: Final[Signs] = (
    *BACKDOORS,
    ("a setuid bit is set", re.compile(rb"\bchmod\s+(?:[0-7]?[4-7][0-7]{3}|[ug]*\+s)\b")),
    ("everybody may become root", re.compile(rb"^[ \t]*ALL[ \t]+ALL[ \t]*=", re.MULTILINE)),
    ("no password is needed to become root", re.compile(rb"^[^#\n]*\bNOPASSWD:\s*ALL", re.MULTILINE)),
    (
        "sudo asks for a password once and never again, or not at all",
        re.compile(
            rb"^[ \t]*Defaults[^\n]{0,400}(?:\btimestamp_timeout[ \t]*=[ \t]*-|![ \t]*(?:tty_tickets|authenticate)\b)",
            re.MULTILINE,
        ),
    ),
    (
        "the shell history is turned off",
        re.compile(
            rb"^[^#\n]*(?:\bHISTFILE=(?:/dev/null|['\"]{2}|$)|\bunset\s+HISTFILE\b|\bHIST(?:FILE)?SIZE=0\b|\bset\s+\+o\s+history\b|\bHISTIGNORE=['\"]?\*)",
            re.MULTILINE,
        ),
    ),
    (
        "a library is loaded into every program",
        re.compile(rb"^[^#\n]*\bLD_(?:PRELOAD|AUDIT)\s*=", re.MULTILINE),
    ),
    ("any password is taken", re.compile(rb"^[^#\n]*\bsufficient\s+pam_permit\.so", re.MULTILINE)),
    (
        "whoever fulfils a condition needs no password",
        re.compile(rb"^[ \t]*-?auth[ \t]+sufficient[ \t]+pam_succeed_if\.so", re.MULTILINE),
    ),
    (
        "logins are passed through a module of no system folder",
        re.compile(
            rb"^[ \t]*-?(?:auth|account|password|session)[ \t]+(?:\[[^\]\n]{0,200}\]|\w+)[ \t]+/(?!(?:usr/)?lib/)",
            re.MULTILINE,
        ),
    ),
    (
        "another command stands for sudo, su or passwd",
        re.compile(
            rb"^[ \t]*(?:alias[ \t]+(?:sudo|su|passwd)=(?!['\"]?(?:sudo|su|passwd)\b)"
            rb"|(?:function[ \t]+)?(?:sudo|su|passwd)[ \t]*\([ \t]*\))",
            re.MULTILINE,
        ),
    ),
    (
        "it names something in a temporary folder",
        re.compile(rb"(?:^|[\s=\"';&|(])/(?:tmp|var/tmp|dev/shm)/[\w.-]*", re.MULTILINE),
    ),
    (
        "it names something in a hidden folder",
        re.compile(rb"(?:^|[\s=\"';&|])/[\w./-]*/\.[\w-]+/[\w.-]+", re.MULTILINE),
    ),
)

_REQUEST = rb"\$_(?:GET|POST|REQUEST|COOKIE|FILES|SERVER\s{0,20}\[\s{0,20}['\"]HTTP_)"
WEB_SHELL: Final[Signs] = (
    (
        "it runs what a request says",
        re.compile(
            rb"\b(?:system|exec|shell_exec|passthru|popen|proc_open|pcntl_exec|eval|assert|create_function)\s{0,20}\("
            rb"[^;\n]{0,200}"
            + _REQUEST
            + rb"|`[^`\n]{0,200}"
            + _REQUEST
            + rb"|\.exec\s{0,20}\(\s{0,20}request\.getParameter|\beval\s{0,20}\(?\s{0,20}Request\b",
            re.IGNORECASE,
        ),
    ),
    (
        "it unpacks and runs what it hides",
        re.compile(
            rb"\b(?:eval|assert)\s{0,20}\(\s{0,20}(?:@?\w{1,40}\s{0,20}\(\s{0,20}){0,3}"
            rb"(?:base64_decode|gzinflate|gzuncompress|str_rot13)\s{0,20}\(",
            re.IGNORECASE,
        ),
    ),
)
"""What makes a script of a web server a way in."""

_SETUPTOOLS = re.compile(
    rb"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os\.environ\.get\(var, '(?:local|stdlib)'\) == 'local'; "
    rb"enabled and __import__\('_distutils_hack'\);? ?"
)


def only_paths(content: bytes | None) -> bool:
    """Whether a `.pth` file runs no code: it names folders, or is the one that pip brings along with setuptools."""
    if content is None or signs(content):
        return False
    lines = [line.strip() for line in content.splitlines()]
    code = [line for line in lines if line.startswith((b"import ", b"import\t"))]
    return all(_SETUPTOOLS.fullmatch(line) for line in code)


_LENGTHENS_PATH = re.compile(
    rb"[ \t]*(?:#.*|(?:export[ \t]+)?PATH=(?P<q>[\"']?)\$\{?PATH\}?(?::(?:\$HOME|~)?/[\w./-]*)+(?P=q)[ \t]*;?)?[ \t]*"
)


def lengthens_path(content: bytes | None, before: bytes | None) -> bool:
    """Whether a start-up file of a shell has folders more at the end of PATH, and nothing else: pipx and their kin do
    that, and no command of the system's is hidden by it."""
    if content is None or before is None or not content.startswith(before):
        return False
    if before and not before.endswith(b"\n") and content[len(before) :][:1] != b"\n":
        return False
    return all(_LENGTHENS_PATH.fullmatch(line) for line in content[len(before) :].split(b"\n"))


def signs(content: bytes | None, before: bytes | None = None, wanted: Signs = SIGNS) -> list[str]:
    """What of this is in a content and was not in the one before."""
    if not content:
        return []
    content, before = content[:MOST_BYTES], (before or b"")[:MOST_BYTES]
    return [words for words, pattern in wanted if pattern.search(content) and not pattern.search(before)]
