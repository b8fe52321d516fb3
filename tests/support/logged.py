"""What a test's log holds, as processes write it: messages with their fields."""

import pytest

from jabba.monitoring.logs import TextFormatter


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return all records, one a line."""
    formatter = TextFormatter()
    return "\n".join(formatter.format(record) for record in caplog.records)
