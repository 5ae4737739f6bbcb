"""One report, one transaction.

A report names the mark that it builds on. `fit` compares it with the mark that is stored, as Raft matches its
log: what is there already is skipped if the record at the mark is the same one, the rest must continue the mark
without a hole, and everything else is answered with the mark (409 `mark-mismatch`), from which the agent finds
back. Records, mark and presence are committed together, and the answer goes out after the commit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from nerve_center import auth, identity, jsontext
from nerve_center.clock import Clock, format_time, parse_time
from nerve_center.contract import Contract
from nerve_center.errors import Refused
from nerve_center.jsontext import Mismatch, check_text
from nerve_center.policy import Versions
from nerve_center.store import agents, latest, records, rollups, standing, threats
from nerve_center.store.prepared import Prepared, Values, run_all
from nerve_center.store.records import Mark, Record
from nerve_center.store.steady import Steady
from nerve_center.store.writer import Writer

MOST_DATA_BYTES = 65536
_MOST_ERRORS = 10
_MOST_MAINTENANCE_S = 7 * 86400.0


@dataclass(frozen=True)
class Report:
    """A report that fits the contract."""

    instance_id: str
    run_id: str
    boot_id: str | None
    sent_us: int
    interval_s: float
    epoch: bytes
    stream: str
    after: Mark
    policy: str | None
    """What the agent says of the policy, as JSON; None where it says nothing."""
    records: Sequence[Record]


class Ingest:
    """Takes reports."""

    def __init__(
        self, contract: Contract, writer: Writer, clock: Clock, steady: Steady, versions: Versions
    ) -> None:
        self._contract = contract
        self._writer = writer
        self._clock = clock
        self._steady = steady
        self._versions = versions

    def report(self, instance: agents.Instance, body: bytes) -> dict[str, Any]:
        """Store a report (its JSON) and return the Acknowledgement.

        `instance` is who it was when it was last asked for: whether it may report still is asked again here. Raises
        Refused: 400 `not-json`, 422 `invalid-body` or `invalid-record`, 409 `mark-mismatch`, and as
        `Authority.reporter` does; and DatabaseUnavailable.
        """
        report = parse_report(self._contract, body)
        if report.instance_id != instance.instance_id:
            raise Refused(403, "not-your-agent", "This credential belongs to another instance of the agent.")
        now_us, heard_us = self._clock.now_us(), self._steady.now_us()
        answer = self._writer.submit(
            lambda connection: _store(connection, instance, report, now_us, heard_us, self._versions),
            agent=instance.agent_key,
        )
        if isinstance(answer, Refused):
            raise answer
        return answer


def fit(mark: Mark, after: Mark, new: Sequence[Record]) -> int | None:
    """How many records of a report to skip, so that the rest continues `mark`; None where it does not fit."""
    if not new:
        return 0 if mark.seq == after.seq else None
    skip = 0
    if after.seq == mark.seq:
        if mark.seq and after.tag is not None and after.tag != mark.tag:
            return None
    elif after.seq < mark.seq <= new[-1].seq:
        at = next((index for index, record in enumerate(new) if record.seq == mark.seq), None)
        if at is None or new[at].tag != mark.tag:
            return None
        skip = at + 1
    else:
        return None
    expected = mark.seq + 1
    for record in new[skip:]:
        if record.from_seq != expected:
            return None
        expected = record.seq + 1
    return skip


def _store(
    connection: Connection,
    instance: agents.Instance,
    report: Report,
    now_us: int,
    heard_us: int,
    versions: Versions,
) -> dict[str, Any] | Refused:
    """The transaction's work: the Acknowledgement, or a refusal before anything was written."""
    found = standing.locked(
        connection,
        instance.instance_id,
        report.run_id,
        report.epoch,
        report.stream,
        report.records[-1].time_us if report.records else now_us,
    )
    if found is None or found.instance.credential_hash != instance.credential_hash:
        return auth.unknown()
    present, mark = found.instance, found.mark
    refusal = auth.refusal(present, instance.agent_id) or identity.check_run(
        present, report.run_id, found.cloned
    )
    if refusal is not None:
        return refusal
    key = present.agent_key
    skip = fit(mark, report.after, report.records)
    if skip is None:
        return Refused(
            409,
            "mark-mismatch",
            "The report does not continue what is stored.",
            members={"mark": _mark_json(mark)},
        )
    new = report.records[skip:]
    stored, skipped = 0, skip
    counts = {"samples": 0, "events": 0, "gaps": 0}
    left: list[tuple[Prepared, Values]] = []
    if new:
        added = records.append(
            connection, key, report.epoch, report.stream, mark, new, now_us, found.deflation
        )
        for record in added.threats:
            threats.apply(connection, key, record.time_us, record.value)
        _note_maintenance(connection, key, new, heard_us)
        rollups.mark(connection, key, present.rolled_hour, new)
        left = [added.move, *latest.noted(key, new)]
        stored, skipped = added.stored, skip + added.duplicates
        counts = {"samples": added.samples, "events": added.events, "gaps": added.gaps}
        mark = Mark(mark.key, new[-1].seq, new[-1].tag)
    left += agents.reported(
        present,
        report.run_id,
        report.boot_id,
        report.interval_s,
        (report.sent_us - now_us) / 1e6,
        heard_us,
        counts,
    )
    run_all(connection, left)
    if report.policy is not None and report.policy != present.policy:
        agents.set_policy(connection, key, report.policy)
    return {
        "epoch": report.epoch.hex(),
        "stream": report.stream,
        "mark": _mark_json(mark),
        "stored": stored,
        "skipped": skipped,
        "server_time": format_time(now_us),
        "policy": versions.of(connection, key, present.labels),
    }


def _note_maintenance(connection: Connection, key: int, new: Sequence[Record], heard_us: int) -> None:
    """The last word of an agent on whether it will be silent for a while."""
    for record in reversed(new):
        if record.kind != "event" or record.value.get("type") not in ("maintenance.begin", "maintenance.end"):
            continue
        until_us = None
        for_s = record.value.get("for_s")
        if record.value["type"] == "maintenance.begin" and isinstance(for_s, (int, float)):
            until_us = heard_us + round(min(max(for_s, 0.0), _MOST_MAINTENANCE_S) * 1e6)
        agents.set_maintenance(connection, key, until_us)
        return


def _mark_json(mark: Mark) -> dict[str, Any]:
    return {"seq": mark.seq, "tag": None if mark.tag is None else mark.tag.hex()}


def parse_report(contract: Contract, text: bytes) -> Report:
    """The body of a report as a Report. Raises Refused (400, 422)."""
    body, texts = jsontext.parse_report(text, contract.look)
    try:
        if texts is None:
            contract.check("Report", body)
            check_text({key: value for key, value in body.items() if key != "records"})
        sent_us = _time(body["sent_at"], ("sent_at",))
    except Mismatch as exc:
        if len(exc.path) > 1 and exc.path[0] == "records" and isinstance(exc.path[1], int):
            raise _invalid_record(body["records"], exc.path[1], exc) from None
        raise invalid_body(exc) from None
    after = body["after"]
    return Report(
        instance_id=body["instance_id"],
        run_id=body["run_id"],
        boot_id=body["boot_id"],
        sent_us=sent_us,
        interval_s=float(body["interval_s"]),
        epoch=bytes.fromhex(body["epoch"]),
        stream=body["stream"],
        after=Mark(None, int(after["seq"]), bytes.fromhex(after["tag"]) if after["tag"] else None),
        policy=_policy(body.get("policy")),
        records=_records(contract, body["records"], texts),
    )


def _policy(said: Any) -> str | None:
    """What is kept of what an agent says of the policy."""
    if said is None:
        return None
    refused = said.get("refused")
    kept = {"version": said["version"]}
    if refused is not None:
        kept["refused"] = {"version": refused["version"], "why": refused["why"]}
    return json.dumps(kept)


def invalid_body(*mismatches: Mismatch) -> Refused:
    """The answer to a body that does not fit the contract."""
    errors = [{"path": _path(item), "message": item.message} for item in mismatches[:_MOST_ERRORS]]
    return Refused(422, "invalid-body", "The body does not fit the contract.", members={"errors": errors})


def _records(contract: Contract, items: list[dict[str, Any]], texts: Sequence[bytes] | None) -> list[Record]:
    """The records; `texts` is their data as JSON where they are known to fit the contract."""
    found: list[Record] = []
    for index, item in enumerate(items):
        try:
            text = _checked(contract, item) if texts is None else texts[index]
            record = _record(item, text)
            if found and record.seq <= found[-1].seq:
                raise Mismatch(("seq",), "must be larger than that of the record before")
        except Mismatch as exc:
            raise _invalid_record(items, index, exc) from None
        found.append(record)
    return found


def _checked(contract: Contract, item: dict[str, Any]) -> bytes:
    """The data of a record as JSON. Raises Mismatch where it does not fit the contract."""
    kind, data = item["kind"], item["data"]
    try:
        contract.check_data(kind, data)
        if kind in ("threat", "gap"):
            check_text(data)
        return jsontext.encode(data).encode("utf-8")
    except Mismatch as exc:
        raise Mismatch(("data", *exc.path), exc.message) from None
    except UnicodeEncodeError:
        raise Mismatch(("data",), "must not hold a lone surrogate") from None
    except ValueError:
        raise Mismatch(("data",), "must hold finite numbers only") from None


def _record(item: dict[str, Any], text: bytes) -> Record:
    """One record whose data fits the contract; `text` is that as JSON."""
    kind, seq, from_seq = item["kind"], int(item["seq"]), int(item["from_seq"])
    if from_seq != seq and (from_seq > seq or kind != "gap"):
        raise Mismatch(("from_seq",), "must equal seq" if kind != "gap" else "must not be larger than seq")
    if len(text) > MOST_DATA_BYTES:
        raise Mismatch(("data",), f"must be at most {MOST_DATA_BYTES} bytes as JSON")
    time_us = _time(item["time"], ("time",))
    return Record(seq, from_seq, bytes.fromhex(item["tag"]), kind, time_us, text, item["data"])


def _time(text: str, path: tuple[str | int, ...]) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise Mismatch(path, "must be a real time") from None


def _invalid_record(items: list[Any], index: int, exc: Mismatch) -> Refused:
    path = exc.path[2:] if exc.path[:1] == ("records",) else exc.path
    where = Mismatch(("records", index, *path), exc.message)
    members: dict[str, Any] = {
        "index": index,
        "errors": [{"path": _path(where), "message": where.message}],
    }
    item = items[index]
    seq = item.get("seq") if isinstance(item, dict) else None
    if isinstance(seq, int) and not isinstance(seq, bool):
        members["seq"] = seq
    return Refused(422, "invalid-record", "A record of the report is invalid.", exc.message, members=members)


def _path(mismatch: Mismatch) -> str:
    return ".".join(str(part) for part in mismatch.path)[:300]
