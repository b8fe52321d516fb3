"""The projection: writes slices and events of the log to PostgreSQL, verifies and rebuilds it."""
