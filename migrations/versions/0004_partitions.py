"""Jobs and tasks in partitions by the week of their ids, so that old ones can be dropped.

The rows there are move into partitions of their weeks. That takes about a minute for a million jobs with five million
tasks, and as much room on the disk again until it is done.
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK = timedelta(days=7) // timedelta(milliseconds=1)
_MONDAY = timedelta(days=4) // timedelta(milliseconds=1)
_KNOWN_TIMES = range(
    *(
        moment // timedelta(milliseconds=1)
        for moment in (datetime(2020, 1, 1, tzinfo=UTC) - _EPOCH, datetime(2100, 1, 1, tzinfo=UTC) - _EPOCH)
    )
)
_REPLACED_INDEXES = (
    *("jobs_by_type", "jobs_by_time", "jobs_by_end", "jobs_in_slices", "jobs_by_meta"),
    *("tasks_by_job", "tasks_by_status"),
)
_MOST_WEEKS = 520
"""Ten years: older jobs, and those whose ids are of no known time, are in the default partitions."""


def upgrade() -> None:
    """Put tables in partitions in the place of the others, with their rows."""
    for table in ("jobs", "tasks"):
        op.execute(f"ALTER TABLE {table} RENAME TO {table}_whole")
        op.execute(f"ALTER INDEX {table}_pkey RENAME TO {table}_whole_pkey")
    for index in _REPLACED_INDEXES:
        op.execute(f"DROP INDEX {index}")
    _create_jobs()
    _create_tasks()
    for table in ("jobs", "tasks"):
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    for start in _weeks():
        _create_partitions(start)
    for table in ("jobs", "tasks"):
        columns = ", ".join(_columns(table))
        op.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_whole")  # noqa: S608 — our names
        op.execute(f"DROP TABLE {table}_whole")


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("inserted_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.Column("closed_at", _MOMENT),
        sa.Column("run_at", _MOMENT),
        sa.Column("run", sa.Integer, nullable=False, server_default="0"),
        sa.Column("n_slices", sa.Integer),
        sa.Column("total", sa.Integer),
        sa.Column("ended", sa.Integer, nullable=False, server_default="0"),
        sa.Column("unsuccessful", sa.Integer, nullable=False, server_default="0"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("strategy", sa.Text),
        sa.Column("type", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("digest", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("meta", postgresql.JSONB),
        sa.Column("callback", postgresql.JSONB),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("jobs_by_type", "jobs", ["type", "status", "inserted_at"])
    op.create_index("jobs_by_time", "jobs", ["inserted_at"])
    op.create_index("jobs_by_end", "jobs", ["ended_at", "inserted_at"])
    in_slices = sa.text("ended_at IS NULL AND n_slices > 1")
    op.create_index("jobs_in_slices", "jobs", ["inserted_at"], postgresql_where=in_slices)
    paths = {"meta": "jsonb_path_ops"}
    op.create_index("jobs_by_meta", "jobs", ["meta"], postgresql_using="gin", postgresql_ops=paths)


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("job_id", sa.Uuid, primary_key=True),
        sa.Column("inserted_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("priority", sa.Integer),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
        sa.Column("run", sa.Integer, nullable=False, server_default="0"),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
        sa.Column("seq", sa.Integer, nullable=False, server_default="-1"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("callback", postgresql.JSONB),
        sa.Column("meta", postgresql.JSONB),
        sa.Column("result", postgresql.JSONB),
        postgresql_partition_by="RANGE (job_id)",
    )
    op.create_index("tasks_by_id", "tasks", ["id"])
    op.create_index("tasks_by_status", "tasks", ["status", "inserted_at"])


def _weeks() -> list[int]:
    """Return the Mondays, in milliseconds, of the weeks in which there are jobs."""
    milliseconds = "('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint"
    days = f"SELECT DISTINCT floor(({milliseconds} - {_MONDAY}) / {_WEEK}.0)::bigint FROM jobs_whole"  # noqa: S608
    found = sorted(number for (number,) in op.get_bind().execute(sa.text(days)))
    return [start for number in found if (start := number * _WEEK + _MONDAY) in _KNOWN_TIMES][-_MOST_WEEKS:]


def _create_partitions(start: int) -> None:
    word = f"{_EPOCH + timedelta(milliseconds=start):%Y%m%d}"
    for table in ("jobs", "tasks"):
        bounds = f"FROM ('{_lowest_id(start)}') TO ('{_lowest_id(start + _WEEK)}')"
        op.execute(f"CREATE TABLE {table}_{word} PARTITION OF {table} FOR VALUES {bounds}")


def _lowest_id(milliseconds: int) -> str:
    return f"{milliseconds << 80:032x}"


def _columns(table: str) -> list[str]:
    return [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
