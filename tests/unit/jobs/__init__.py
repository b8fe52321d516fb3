"""Unit tests of ``jabba/jobs``."""
