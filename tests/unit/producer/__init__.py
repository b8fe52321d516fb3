"""Unit tests of ``jabba/producer``."""
