"""Unit tests of ``jabba/monitoring``."""
