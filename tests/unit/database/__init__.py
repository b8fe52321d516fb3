"""Unit tests of ``jabba/database``."""
