"""Unit tests of ``web``."""
