"""The tables, as the newest migration leaves them.

    meta        what is true of this database as a whole (`center_id`, the probe's last write)
    agents      one row a host under watch: what it says of itself, when it was last heard, what is kept of it
    instances   one row an enrolled credential; several may belong to one agent over time, one is in use
    streams     one row a history (agent, epoch, stream) with its mark: every seq up to `seq` is a record,
                a counted gap or one of the `duplicates` that came before under another epoch
    samples     measurements  \
    dictionaries  what an agent's samples of an hour are compared with (`deflation`)
    events      events, threats, unknown kinds   > keyed by agent, time and tag
    gaps        ranges that are known to be missing  /
    skipped     ranges of a history whose records were there already, from another epoch
    runs        starts of an agent's process: the present one of an instance, those before it, and those in doubt
    latest      the newest figures of an agent and the course of its last hour, one row an agent
    labels      the labels of an agent, one row a label, to find agents by
    threats     what the threat records add up to, one row a fingerprint; without an agent it is the center's own
    threat_log  what became of a threat: what its records changed, and what people did
    silences    which threats notify nobody, and until when
    outbox      messages on their way to people, one row a message and address
    told        which threats each route of notifications knows of, and how bad they were then
    api_tokens  programs that may use the API, and for what
    enrollment_tokens  tokens that vouch for new agents, beside the one in its file
    leases      who of several processes does what only one may do
    agent_states  the state of each agent from when until when; `until_us` is NULL in the row of the present one
    dirty_hours   hours of an agent whose rollups are to be made (again); `mark` is new at each marking
    minutes       rollups to one minute, one row an agent and hour (since 1970)
    quarters      rollups to 15 minutes and to 6 hours, one row an agent and day (since 1970)
    removed     ranges of a history that retention has removed

Those of people stand in `people_tables`, those of what agents are told in `policy_tables`. Times are microseconds
since 1970. Tags and epochs are 8 bytes. `data` is the record's JSON, deflated.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from nerve_center.store.policy_tables import (
    metadata as metadata,  # noqa: PLC0414 for those who want all tables
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

agents = Table(
    "agents",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("hostname", String(255), nullable=False),
    Column("agent_version", String(64), nullable=False),
    Column("host", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("given_labels", Text, nullable=False, server_default="{}"),
    Column("interval_s", Float, nullable=False),
    Column("run_id", String(32), nullable=False),
    Column("boot_id", String(64)),
    Column("registered_us", BigInteger, nullable=False),
    Column("last_registered_us", BigInteger, nullable=False),
    Column("last_report_us", BigInteger),
    Column("heard_us", BigInteger),
    Column("goodbye_us", BigInteger),
    Column("maintenance_until_us", BigInteger),
    Column("clock_skew_s", Float),
    Column("samples", Integer, nullable=False, default=0),
    Column("events", Integer, nullable=False, default=0),
    Column("gaps", Integer, nullable=False, default=0),
    Column("rolled_hour", Integer, nullable=False, server_default="0"),
    Column("raw_hour", Integer, nullable=False, server_default="0"),
    Column("policy", Text),
    Index("ix_agents_hostname", "hostname", "id"),
    Index("ix_agents_presence", "goodbye_us", "heard_us", "interval_s", "maintenance_until_us"),
)

latest = Table(
    "latest",
    metadata,
    Column("agent_key", ForeignKey("agents.key"), primary_key=True, autoincrement=False),
    Column("time_us", BigInteger),
    Column("cpu_percent", Float, index=True),
    Column("memory_percent", Float, index=True),
    Column("disk_percent", Float, index=True),
    Column("disk_mount", String(255)),
    Column("load_1m", Float),
    Column("course", Text, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column("agent_key", ForeignKey("agents.key"), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_labels_name", "name", "value", "agent_key"),
    sqlite_with_rowid=False,
)

instances = Table(
    "instances",
    metadata,
    Column("instance_id", String(32), primary_key=True),
    Column("agent_key", ForeignKey("agents.key"), nullable=False, index=True),
    Column("claimed_id", String(64), nullable=False),
    Column("credential_hash", LargeBinary(32), nullable=False, unique=True),
    Column("run_id", String(32), nullable=False),
    Column("enrolled_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger, nullable=False),
    Column("last_report_us", BigInteger),
    Column("goodbye_us", BigInteger),
    Column("superseded_us", BigInteger),
    Column("revoked_us", BigInteger),
)

streams = Table(
    "streams",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("agent_key", ForeignKey("agents.key"), nullable=False),
    Column("epoch", LargeBinary(8), nullable=False),
    Column("stream", String(16), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("tag", LargeBinary(8), nullable=False),
    Column("duplicates", BigInteger, nullable=False, default=0),
    Column("updated_us", BigInteger, nullable=False),
    UniqueConstraint("agent_key", "epoch", "stream"),
)


def _record_columns() -> list[Column[int] | Column[bytes]]:
    return [
        Column("agent_key", ForeignKey("agents.key"), primary_key=True),
        Column("time_us", BigInteger, primary_key=True),
        Column("tag", LargeBinary(8), primary_key=True),
        Column("stream_key", ForeignKey("streams.key"), nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("received_us", BigInteger, nullable=False),
    ]


samples = Table(
    "samples",
    metadata,
    *_record_columns(),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

dictionaries = Table(
    "dictionaries",
    metadata,
    Column("agent_key", ForeignKey("agents.key"), primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    *_record_columns(),
    Column("kind", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_events_time", "time_us", "agent_key", "tag"),
    Index("ix_events_kind", "kind", "time_us", "agent_key", "tag"),
    sqlite_with_rowid=False,
)

gaps = Table(
    "gaps",
    metadata,
    *_record_columns(),
    Column("from_seq", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("reason", String(64), nullable=False),
    sqlite_with_rowid=False,
)

skipped = Table(
    "skipped",
    metadata,
    Column("stream_key", ForeignKey("streams.key"), primary_key=True),
    Column("from_seq", BigInteger, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("instance_id", String(32), nullable=False, index=True),
    Column("place", String(32)),
    Column("first_us", BigInteger, nullable=False),
    Column("accepted_us", BigInteger),
    Column("cloned_us", BigInteger),
)

threats = Table(
    "threats",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("agent_key", ForeignKey("agents.key")),
    Column("fingerprint", String(128), nullable=False),
    Column("type", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("confidence", Float),
    Column("state", String(16), nullable=False),
    Column("triage", String(16), nullable=False),
    Column("triaged_us", BigInteger),
    Column("triaged_by", String(128)),
    Column("status", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("more", LargeBinary),
    Column("opened_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("cleared_us", BigInteger),
    Column("times_opened", Integer, nullable=False),
    UniqueConstraint("agent_key", "fingerprint"),
    Index("ix_threats_newest", "status", "opened_us", "key"),
    Index("ix_threats_worst", "status", "rank", "opened_us", "key"),
    Index("ix_threats_alike", "type", "subject", "status"),
    Index("ix_threats_opened", "opened_us", "key"),
    Index("ix_threats_rank", "rank", "opened_us", "key"),
)

threat_log = Table(
    "threat_log",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("threat_key", ForeignKey("threats.key"), nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("what", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("actor", String(128)),
    Column("text", Text, nullable=False),
    Index("ix_threat_log_threat", "threat_key", "key"),
)

silences = Table(
    "silences",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("agent_key", ForeignKey("agents.key")),
    Column("fingerprint", String(128)),
    Column("type", String(64), nullable=False),
    Column("label_name", String(256)),
    Column("label_value", String(256)),
    Column("reason", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("until_us", BigInteger),
    Column("until_cleared", Integer, nullable=False),
    Column("ended_us", BigInteger),
    Index("ix_silences_ended", "ended_us"),
    Index("ix_silences_agent", "agent_key", "fingerprint"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("route", String(64), nullable=False),
    Column("target", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("claimed_until_us", BigInteger),
    Column("done_us", BigInteger),
    Column("failed", Integer, nullable=False),
    Column("error", Text),
    Index("ix_outbox_due", "done_us", "due_us"),
    Index("ix_outbox_fate", "done_us", "failed"),
)

told = Table(
    "told",
    metadata,
    Column("route", String(64), primary_key=True),
    Column("threat_key", ForeignKey("threats.key"), primary_key=True, autoincrement=False),
    Column("rank", Integer, nullable=False),
    Column("times_opened", Integer, nullable=False),
    Column("told_us", BigInteger, nullable=False),
    Index("ix_told_threat", "threat_key"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_us", BigInteger, nullable=False),
    Column("scope", String(16), nullable=False, server_default="read"),
    Column("expires_us", BigInteger),
)

enrollment_tokens = Table(
    "enrollment_tokens",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(96), nullable=False),
    Column("expires_us", BigInteger),
    Column("uses_left", Integer),
    Column("used", Integer, nullable=False),
    Column("labels", Text, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("beat", BigInteger, nullable=False),
)

agent_states = Table(
    "agent_states",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("agent_key", ForeignKey("agents.key"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("until_us", BigInteger),
    Index("ix_agent_states_agent_since", "agent_key", "since_us"),
    Index("ix_agent_states_until_agent", "until_us", "agent_key"),
    Index("ix_agent_states_since", "since_us"),
)

dirty_hours = Table(
    "dirty_hours",
    metadata,
    Column("agent_key", ForeignKey("agents.key"), primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("mark", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

minutes = Table(
    "minutes",
    metadata,
    Column("agent_key", ForeignKey("agents.key"), primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

quarters = Table(
    "quarters",
    metadata,
    Column("agent_key", ForeignKey("agents.key"), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("coarse", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

removed = Table(
    "removed",
    metadata,
    Column("stream_key", ForeignKey("streams.key"), primary_key=True),
    Column("from_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
