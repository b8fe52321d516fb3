"""Unit tests of ``jabba/kafka``."""
