"""The words for processes that should not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Words:
    """What is said of one kind. `summary` may name {about} and {path}, `next` the {pid}, the {file} as one word for a
    shell, and the {address} at the other end."""

    title: str
    severity: str
    confidence: float
    technique: str
    summary: str
    why: str
    next: str


SEE = (
    "See /proc/{pid} before ending it: a copy of /proc/{pid}/exe is the only one there is; "
    "its parents tell who began it."
)
WORDS: Final = {
    "process_deleted_executable": Words(
        "Process without its executable",
        "high",
        0.85,
        "T1070.004",
        "{about} runs {path}, which was deleted",
        "Whoever deletes a program while it runs hides it from a look at the disk; a package upgrade is not the cause.",
        SEE,
    ),
    "process_from_temporary_folder": Words(
        "Process from a temporary folder",
        "medium",
        0.7,
        "T1059",
        "{about} runs {path}, in a folder where everybody may write",
        "Programs are installed elsewhere; what runs from here was put there by a login, a script or a broken service.",
        "Whose it is: ls -l {file}; who started it: ps -fp {pid}, and the parents in the evidence. Keep a copy.",
    ),
    "process_from_memory": Words(
        "Process from memory",
        "high",
        0.85,
        "T1620",
        "{about} runs {path}, a program that is in memory alone",
        "Such a program never was a file: that is how loaders avoid a trace.",
        SEE,
    ),
    "shell_on_socket": Words(
        "Shell on a network connection",
        "critical",
        0.95,
        "T1059.004",
        "{about} is a shell that is typed into over the network connection with {path}",
        "Whoever is at the other end types commands on this host.",
        "Cut the connection: ss -K dst {address}. Then see the parents in the evidence for the way in.",
    ),
    "process_masquerading": Words(
        "Process in disguise",
        "high",
        0.9,
        "T1036.004",
        "{about} runs {path} and calls itself like a thread of the kernel",
        "The kernel's threads have no executable; a program that takes such a name does not want to be noticed.",
        SEE,
    ),
    "miner_like_process": Words(
        "Process that looks like a miner",
        "high",
        0.9,
        "T1496",
        "{about} keeps the cpu busy and is called like a cryptocurrency miner: {path}",
        "It earns money for somebody on your electricity, and shows that somebody could start programs here.",
        SEE,
    ),
    "process_odd_path": Words(
        "Process with a hidden name",
        "high",
        0.9,
        "T1036.005",
        "{about} runs {path!r}, whose name is made to be overlooked",
        "Names of dots and blanks look like a folder that is always there, or like another name: somebody hides.",
        SEE,
    ),
    "process_preloads": Words(
        "Process with a foreign library",
        "high",
        0.85,
        "T1574.006",
        "{about} runs {path} with a library loaded into it from a place where programs are not installed: {other}",
        "Such a library sees and changes all that the program does.",
        "Keep a copy of the library; see what started the program (the parents in the evidence) and end it.",
    ),
    "process_traced": Words(
        "Process that is read along",
        "high",
        0.85,
        "T1055.008",
        "{about} runs {path}, and {other} looks into it and may change it",
        "Passwords go through this program; what traces it reads them, or makes it do something else.",
        "If nobody is debugging it: end the other process (evidence: traced_by), then change the passwords used since.",
    ),
}
