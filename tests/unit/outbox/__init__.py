"""Unit tests of ``jabba/outbox``."""
