"""An index of the jobs that have not ended, newest first without a look at each week's jobs that have."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("jobs_open", "jobs", ["inserted_at"], postgresql_where=sa.text("ended_at IS NULL"))
