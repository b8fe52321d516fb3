"""Kafka: connection settings, writing, reading, topics, ACLs and dead letters."""
