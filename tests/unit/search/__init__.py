"""Unit tests of ``jabba/search``."""
