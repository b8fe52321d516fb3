"""The tables of the projection. A migration changes them; a test compares the two.

A row that an event made before its slice came is a *stub*: a job without ``meta``, a task without ``callback``. No
query shows stubs, and no foreign key forbids them.

Jobs are partitioned by the week of their id, tasks with their job; ``partitions.py`` makes and drops the partitions.
What belongs to none of them is in ``jobs_default`` and ``tasks_default``.
"""

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, MetaData, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from jabba.database.trigrams import trigrams

metadata = MetaData()

_MOMENT = DateTime(timezone=True)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Times are those of messages. updated_at is that of the last outcome or of the closing, before that inserted_at.
    Column("inserted_at", _MOMENT, nullable=False),
    Column("updated_at", _MOMENT, nullable=False),
    Column("ended_at", _MOMENT),
    Column("closed_at", _MOMENT),
    Column("run_at", _MOMENT),
    Column("run", Integer, nullable=False, server_default="0"),
    Column("n_slices", Integer),
    Column("total", Integer),
    Column("ended", Integer, nullable=False, server_default="0"),
    Column("unsuccessful", Integer, nullable=False, server_default="0"),
    Column("status", Text, nullable=False),
    Column("strategy", Text),
    # In the order of characters, as searches have it: jobs_by_type finds those that begin with a prefix.
    Column("type", Text(collation="C")),
    Column("name", Text),
    Column("digest", Text),
    Column("reason", Text),
    Column("meta", JSONB),
    Column("callback", JSONB),
    # What a job or a task was submitted with beside that: retry policy, times.
    Column("options", JSONB),
    Index("jobs_by_type", "type", "status", "inserted_at"),
    Index("jobs_by_time", "inserted_at"),
    # Those that have not ended stand together in it, the oldest of them first or last.
    Index("jobs_by_end", "ended_at", "inserted_at"),
    # Newest first; of the weeks in which all have ended it says so at once.
    Index("jobs_open", "inserted_at", postgresql_where=text("ended_at IS NULL")),
    # The few that may be incomplete: most jobs have one slice, and most others have ended.
    Index("jobs_in_slices", "inserted_at", postgresql_where=text("ended_at IS NULL AND n_slices > 1")),
    # In the order of characters, as searches have it; it stands where an operator class would.
    Index("jobs_by_name", "name", "id", postgresql_ops={"name": 'COLLATE "C"'}),
    Index("jobs_by_meta", "meta", postgresql_using="gin", postgresql_ops={"meta": "jsonb_path_ops"}),
    postgresql_partition_by="RANGE (id)",
)

# Of the whole table, though few may have names: the planner takes no statistics from a partial index.
Index(
    "jobs_by_part_of_name",
    trigrams(jobs.c.name).label("trigrams"),
    postgresql_using="gin",
    postgresql_ops={"trigrams": "jsonb_path_ops"},
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("job_id", Uuid, primary_key=True),
    Column("inserted_at", _MOMENT, nullable=False),
    Column("updated_at", _MOMENT, nullable=False),
    Column("ended_at", _MOMENT),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("priority", Integer),
    Column("attempt", Integer, nullable=False, server_default="1"),
    # Of the last attempt; those before it are in attempts, by run and number.
    Column("began_at", _MOMENT),
    Column("worker", Text),
    Column("attempts", JSONB),
    # The version of the last event that was applied; seq is -1 until there is one.
    Column("run", Integer, nullable=False, server_default="0"),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("seq", Integer, nullable=False, server_default="-1"),
    Column("status", Text, nullable=False),
    Column("name", Text),
    Column("callback", JSONB),
    Column("options", JSONB),
    Column("meta", JSONB),
    Column("result", JSONB),
    # A task's id says nothing that job_id and position do not, so that this one need not be unique.
    Index("tasks_by_id", "id"),
    Index("tasks_by_status", "status", "inserted_at"),
    Index("tasks_by_time", "inserted_at"),
    # What failed where. Of all tasks this index would cost more than it is worth: each one's args are its own.
    Index(
        "tasks_unsuccessful",
        "callback",
        postgresql_using="gin",
        postgresql_ops={"callback": "jsonb_path_ops"},
        postgresql_where=text("status IN ('FAILED', 'RESCUED')"),
    ),
    postgresql_partition_by="RANGE (job_id)",
)

projection_offsets = Table(
    "projection_offsets",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)

PROJECTION = (jobs, tasks, projection_offsets)
"""The tables that can be made anew from the log."""

# The two below are no projection of the log: nothing could make their rows anew.

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("role", Text, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", _MOMENT, nullable=False),
    Column("expires_at", _MOMENT),
    Column("revoked_at", _MOMENT),
)

audit = Table(
    "audit",
    metadata,
    # Made by whoever did it, so that a repeat is recognised; that of a submission is the job's.
    Column("id", Uuid, primary_key=True),
    Column("at", _MOMENT, nullable=False),
    Column("action", Text, nullable=False),
    Column("key_id", Text),
    Column("key_name", Text),
    # Who did it at the database, without a key.
    Column("user_name", Text),
    Column("job_id", Uuid),
    Column("about_key", Text),
    Index("audit_by_time", "at"),
    Index("audit_by_key", "key_id", "at"),
    Index("audit_by_job", "job_id"),
)
