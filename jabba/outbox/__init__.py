"""Submit a job inside the caller's own database transaction, and the relay that sends what was committed."""

from jabba.outbox.outbox import DDL, TABLE, Added, Options, add, add_async, ddl, prepared

__all__ = ["DDL", "TABLE", "Added", "Options", "add", "add_async", "ddl", "prepared"]
