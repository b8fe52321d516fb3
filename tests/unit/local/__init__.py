"""Unit tests of ``jabba/local``."""
