"""Logging, set up in one place: lines of text or JSON on standard error, with the fields given as ``extra``.

``logger.info("worker ready", extra={"partitions": 8})`` becomes ``… INFO agents.worker: worker ready partitions=8``, or
``{"time": …, "level": "INFO", "logger": "agents.worker", "message": "worker ready", "partitions": 8}``.
"""

import json
import logging
import math
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from jabba.printable import printable

LogFormat = Literal["text", "json"]

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_NO_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SELDOM_SECONDS = 30.0
_MOST_REMEMBERED = 1000


def to_standard_error(level: str, say: Callable[[str], None] | None = None, *, log_format: LogFormat = "text") -> None:
    """Log from ``level`` on: ``debug``, ``info``, ``warning`` or ``error``; through ``say`` if that is given."""
    handler = logging.StreamHandler(sys.stderr) if say is None else _Saying(say)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(_is_of_interest)
    handler.addFilter(Repetitions())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # While a command looks whether Kafka is there, its own error says so; an application sets the level again.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class TextFormatter(logging.Formatter):
    """Formats a record as one line, its fields as ``key=value`` behind the message; a traceback stands indented below.

    No message or traceback can look like another record, or control a terminal.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 — logging's name
        """Return the line."""
        return " ".join((printable(super().formatMessage(record)), *_pairs(fields_of(record))))

    def formatException(self, ei: Any) -> str:  # noqa: N802 — logging's name
        """Return the traceback."""
        return textwrap.indent(printable(super().formatException(ei), keep="\n"), "  ")

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 — logging's name
        """Return the stack."""
        return textwrap.indent(printable(stack_info, keep="\n"), "  ")


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object in one line: time, level, logger, message, its fields, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= {name: _scalar(value) for name, value in fields_of(record).items() if name not in document}
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return printable(json.dumps(document, ensure_ascii=False))


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record was given as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _NO_FIELDS and value is not None}


def _scalar(value: Any) -> str | int | float:
    """Return a value as JSON can have it."""
    return value if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)) else str(value)


def _pairs(fields: dict[str, Any]) -> list[str]:
    return [f"{name}={_word(value)}" for name, value in fields.items()]


def _word(value: Any) -> str:
    """Return a value without spaces around it, in quotation marks if it has some inside."""
    text = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    quoted = not text or any(char in ' "=' for char in text)
    return printable(json.dumps(text, ensure_ascii=False) if quoted else text)


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
            record.msg, record.args = f"{said[1]} (and {told.held_back:,} times more since)", None
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
