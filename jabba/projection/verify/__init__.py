"""Comparing what the log amounts to, found without SQL, with what PostgreSQL holds."""
