"""Unit tests of ``jabba/concurrency``."""
