"""The forms of what callers ask for."""

from collections.abc import Sequence
from typing import Any

Condition = Sequence[Any]
"""``[field, rule, value]``, such as ``["status", "equal", "FAILED"]``."""

Order = Sequence[Sequence[str]]
"""``[["desc", "inserted_at"], …]``."""

Cursor = tuple[int, int]
"""Offset and limit."""
