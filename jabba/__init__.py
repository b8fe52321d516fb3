"""Jabba: an asynchronous job manager on Kafka and PostgreSQL."""

__all__: list[str] = []
