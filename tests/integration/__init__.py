"""Tests against the real parts: Apache Kafka, PostgreSQL, real processes."""
