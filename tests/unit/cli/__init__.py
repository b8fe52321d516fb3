"""Unit tests of ``jabba/cli``."""
