"""Types of jobs are ordered by their characters, so that the index finds those that begin with a prefix.

It is made anew, in about three seconds for a million jobs. Then the rows are analysed, which takes ten more: a new
index of an expression, as the one of parts of names, has no statistics until then.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the collation."""
    op.execute('ALTER TABLE jobs ALTER COLUMN type TYPE text COLLATE "C"')
    op.execute("ANALYZE jobs")
