"""Unit tests of ``jabba/engine``."""
