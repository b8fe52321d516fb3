"""Unit tests of ``jabba/client``."""
