"""Find the jobs that ended a moment ago, and those that have not ended."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("jobs_by_end", "jobs", ["ended_at", "inserted_at"])
