"""When and where the last attempt of a task began, the attempts before it, and the options of jobs and tasks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("tasks", sa.Column("began_at", sa.DateTime(timezone=True)))
    op.add_column("tasks", sa.Column("worker", sa.Text))
    op.add_column("tasks", sa.Column("attempts", JSONB))
    op.add_column("jobs", sa.Column("options", JSONB))
    op.add_column("tasks", sa.Column("options", JSONB))
