"""Logging, set up in one place: plain lines on standard error with time, level, logger and message."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SELDOM_SECONDS = 30.0
_MOST_REMEMBERED = 1000


def to_standard_error(level: str, say: Callable[[str], None] | None = None) -> None:
    """Log from ``level`` on: ``debug``, ``info``, ``warning`` or ``error``; through ``say`` if that is given."""
    handler = logging.StreamHandler(sys.stderr) if say is None else _Saying(say)
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(_is_of_interest)
    handler.addFilter(Repetitions())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # While a command looks whether Kafka is there, its own error says so; an application sets the level again.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class Repetitions:
    """A filter of a handler: what clients of Kafka say again within half a minute is held back, and counted.

    While Kafka is away each says the same up to a hundred times a second, and everything else would drown in it.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], _Told] = {}

    def __len__(self) -> int:
        return len(self._told)

    def __call__(self, record: logging.LogRecord) -> bool:
        """Return whether a record is told; one that stands for others says for how many."""
        if record.name.partition(".")[0] != "aiokafka" and record.name != "jabba.kafka.writer":
            return True
        said = record.name, record.getMessage()
        told = self._told.get(said)
        if told is not None and 0 <= record.created - told.at < _SELDOM_SECONDS:
            told.held_back += 1
            return False
        if told is not None and told.held_back:
            record.msg, record.args = f"{said[1]} (and {told.held_back:,} times more since it was told last)", None
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told[said] = _Told(record.created)
        return True


@dataclass(slots=True)
class _Told:
    """When a message was told last, in seconds since the epoch, and how often it was held back since."""

    at: float
    held_back: int = 0


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
