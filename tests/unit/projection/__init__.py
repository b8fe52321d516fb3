"""Unit tests of ``jabba/projection``."""
