"""Unit tests of ``jabba/callbacks``."""
