"""What the log lines are about: a kind of event, and fields beside the text.

A call that logs something that matters says so with `extra=about(Kind.…, …)`. In the journal the kind becomes
MESSAGE_ID, under which dio-agent.catalog explains it, and DIO_EVENT; each field becomes DIO_ and its name.
Elsewhere the text stands alone: it never depends on the fields.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TypedDict, Unpack


class Kind(Enum):
    """Kinds of event, by their MESSAGE_ID: made with systemd-id128(1), never changed, never used again."""

    STARTING = "0b5b81973f4a4a3e9f8ea9e8bf70a79d"
    HEALTH_CHECK_FAILED = "5634d482c5184b6db0fe11c10e5cdd38"
    WAITING = "0555b1e228664cb9af2c4d45b6cb758b"
    CENTER_READY = "795297f5780349828d885d2015ad585f"
    REGISTRATION_FAILED = "27550ec11a25485484724f8e5eea5a49"
    REGISTERED = "1c81290499474722ae40463533888129"
    MONITORING = "bdf71398256c4250a6f51c4ebcd635bd"
    GAVE_UP = "7788389fffe94a7fad92838f2ba0be48"
    REFUSED = "967d269874624cc38a407a903f91fa89"
    UNUSABLE = "e50d0bd368d84d418aac0bbfdb69fdf7"

    REPORT_FAILED = "80335e278f3344a69511f98bf524feae"
    ACKNOWLEDGED_AGAIN = "f7dccc63cd864a26ab168a42cdbabc21"
    OFFLINE = "c5833e96bc3a41eabfe8c0ab029c44bb"
    STILL_OFFLINE = "c1f10353158f43fa95572d73993d05f1"
    REREGISTERING = "a9d500928d7c41518e3adb557a875f70"
    REREGISTERED = "94132230b033432784a769767cdcd596"
    RESUMED = "c21a82569f834d979705f6ad457329fa"
    CENTER_CHANGED = "0b5be5ca518440eea7d0032a6df77d3f"

    SPOOL_IN_MEMORY = "ccc1c4a82b2f4db182b45509391cf13f"
    SPOOL_ON_DISK = "e876eadaad7f4040a7fb753812e85c8e"
    SPOOL_DAMAGED = "153f9d7faafe4de09ad9e9bb03614038"
    SPOOL_REPLACED = "0aedf480e8ef49a4a892a250a4bb60d4"
    RECORDS_LOST = "ff482104728b414f94044ad83473ee34"
    REPORT_TOO_LARGE = "6c2fc272b0814d52b44241beef20de5a"
    DEAD_LETTER = "c9a9c259c737495ab2672f51c27e0722"
    CENTER_LOST_RECORDS = "2f420300a16b488d835ac29748935509"
    HISTORIES_PARTED = "194abd38da634840873db31656795cc9"

    CLONE = "af7acd5d698f420fa0f4a596e8e15149"
    IDENTITY_IN_DOUBT = "662de7b7e49f4befabab05bb8404ee00"
    IDENTITY_DAMAGED = "ddbacd03042d47c5ab74f0a5d54fa50e"
    MACHINE_ID_CHANGED = "dafb22dfac6d4f60a383f16c23086c08"
    TOKEN_UNUSABLE = "9354b9dabfff41c19954919e52d980ab"  # noqa: S105 - the id of a message

    THREAT_OPENED = "d6f511d6538e4871a9b6575f94055dce"
    THREAT_ESCALATED = "c6f84e53ddd84d37b81ec80e4f59d4d8"
    THREAT_CLEARED = "2b2ae47f9c2a4318a5ac4946efaace97"
    DETECTOR_FAILED = "3a5a1501395441ac8035750cbe854902"

    POLICY_IN_FORCE = "36b84ffa81ac4efeab88992f388d6f45"
    POLICY_REFUSED = "33b59681ce654ee599aa4740152d2448"

    BAD_CONFIGURATION = "a1883f916a3f4a8e98bbe5dacf2a8c54"
    RELOADED = "aaf933c28c2a4792aa4689c349318f9b"
    RELOAD_FAILED = "efa0d72c83bb457a8781a13f4d186ff0"
    THREAD_CRASHED = "9626953ad68a4b058d74bf60b66cab0e"
    THREAD_STUCK = "ebc6f69432ab46ecaaee4c5fc85e2df5"
    PAUSED = "1b30de7cdede4d44b9c5d892ad554973"
    PAUSE_ENDED = "57211956ccbf460896c422d8979deb33"
    STOPPED = "7904c04fe62b4d249ed8872fe39820dd"
    LEFT_OUT = "affaee9c16154322b568be54bde4eaee"


class Fields(TypedDict, total=False):
    """What can stand beside a text. A stable name and unit each: docs/journal.md lists them."""

    state: str
    attempt: int
    error_kind: str
    http_status: int | None
    failures: int
    records: int
    duration_s: float
    wait_s: float
    stream: str
    seq: int
    exit_code: int
    thread: str
    left_out: int
    detector: str
    threat_id: str
    threat_type: str
    severity: str


class About(TypedDict):
    """The `extra` of a log call."""

    dio_kind: Kind
    dio_fields: Fields


def about(kind: Kind, **fields: Unpack[Fields]) -> About:
    """The `extra` of a log call: what kind of event its text tells, and what belongs to it."""
    return {"dio_kind": kind, "dio_fields": fields}


def kind_of(record: logging.LogRecord) -> Kind | None:
    """What a record is about; None when nobody said."""
    found = getattr(record, "dio_kind", None)
    return found if isinstance(found, Kind) else None


def fields_of(record: logging.LogRecord) -> Fields:
    """The fields that were given with a record."""
    found: Fields | None = getattr(record, "dio_fields", None)
    return found or {}
