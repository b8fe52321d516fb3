"""Unit tests of ``jabba/callee``."""
