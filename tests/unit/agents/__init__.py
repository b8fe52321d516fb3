"""Unit tests of ``agents``."""
