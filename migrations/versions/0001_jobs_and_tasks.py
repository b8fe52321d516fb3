"""Jobs, tasks, and how far the projection has come."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _create_jobs()
    _create_tasks()
    op.create_table(
        "projection_offsets",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
    )


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
    )
    op.create_index("jobs_by_type", "jobs", ["type", "status", "inserted_at"])
    op.create_index("jobs_by_time", "jobs", ["inserted_at"])
    in_slices = sa.text("ended_at IS NULL AND n_slices > 1")
    op.create_index("jobs_in_slices", "jobs", ["inserted_at"], postgresql_where=in_slices)
    paths = {"meta": "jsonb_path_ops"}
    op.create_index("jobs_by_meta", "jobs", ["meta"], postgresql_using="gin", postgresql_ops=paths)


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("job_id", sa.Uuid, nullable=False),
        sa.Column("inserted_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.Column("position", sa.Integer, nullable=False),
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
    )
    op.create_index("tasks_by_job", "tasks", ["job_id", "position"])
    op.create_index("tasks_by_status", "tasks", ["status", "inserted_at"])
