"""Unit tests of ``jabba/messages``."""
