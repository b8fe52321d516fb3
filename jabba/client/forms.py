"""The forms of what callers ask for."""

from collections.abc import Sequence
from typing import Any

Condition = Sequence[Any]
"""``[field, rule, value]``, such as ``["status", "equal", "FAILED"]``."""

Filter = str | Condition | Sequence[Condition]
"""A text such as ``"status:FAILED type:audit_*"``, a condition, or several that hold at once."""

Order = Sequence[Sequence[str]]
"""``[["desc", "inserted_at"], …]``."""

Cursor = tuple[int, int] | tuple[str, int] | str
"""Offset and limit, or ``next`` of another page, alone or with a limit."""


def listed(conditions: Any) -> Any:
    """Return conditions as a list; a single one need not stand in one, and the server judges what is no list."""
    if not isinstance(conditions, Sequence):
        return conditions
    return [conditions] if len(conditions) and isinstance(conditions[0], str) else list(conditions)
