"""Alembic's entry: runs the migrations on the connection that ``jabba.database.migrations`` opened."""

from alembic import context

from jabba.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
