"""Logging, set up in one place: plain lines on standard error with time, level, logger and message."""

import logging
import sys
from collections.abc import Callable

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def to_standard_error(level: str, say: Callable[[str], None] | None = None) -> None:
    """Log from ``level`` on: ``debug``, ``info``, ``warning`` or ``error``; through ``say`` if that is given."""
    handler = logging.StreamHandler(sys.stderr) if say is None else _Saying(say)
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(_is_of_interest)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # While a command looks whether Kafka is there, its own error says so; an application sets the level again.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class _Saying(logging.Handler):
    """Hands lines to a function."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say one."""
        self._say(self.format(record))


def errors_only() -> None:
    """Log next to nothing: what goes wrong is told by the command itself, in one line."""
    logging.basicConfig(level=logging.CRITICAL, force=True)


def _is_of_interest(record: logging.LogRecord) -> bool:
    """Pass over what Faust tells, below warnings, about the starts and stops of services made of its classes."""
    return record.levelno >= logging.WARNING or not str(record.msg).startswith("[^")
