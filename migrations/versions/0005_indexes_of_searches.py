"""Indexes for what is searched: the newest tasks, jobs by name, and what failed where."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes."""
    op.create_index("jobs_by_name", "jobs", ["name", "id"], postgresql_ops={"name": 'COLLATE "C"'})
    op.create_index("tasks_by_time", "tasks", ["inserted_at"])
    op.create_index(
        "tasks_unsuccessful",
        "tasks",
        ["callback"],
        postgresql_using="gin",
        postgresql_ops={"callback": "jsonb_path_ops"},
        postgresql_where=sa.text("status IN ('FAILED', 'RESCUED')"),
    )
