"""Unit tests of ``jabba/auth``."""
