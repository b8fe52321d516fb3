"""An exception as a result keeps it: what was raised, why, by whom, and where, all of it bounded."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from jabba.callbacks.bounded import LONGEST_TEXT, shown
from jabba.jobs import json_codec

TRACEBACK_BYTES = 4096

_MOST_ERRORS = 20
"""Causes and members that are kept, of all levels together."""

_CAUSE_CHARACTERS = 1_000
_MOST_NOTES = 10
_MOST_FRAMES = 50
_OWN_FRAMES = str(Path(__file__).parent)


def report(error: BaseException, traceback_bytes: int = TRACEBACK_BYTES) -> dict[str, Any]:
    """Return what is kept of an exception.

    ``error`` is its name and text, ``type`` its class with its module. Where there are any: ``notes``, ``traceback``,
    ``causes`` from the nearest to the first, and ``members``, those of a group; each of them again with these keys.
    The tracebacks together have at most ``traceback_bytes`` bytes.
    """
    try:
        return _Reporter(traceback_bytes).report(error, LONGEST_TEXT)
    except Exception:  # noqa: BLE001 — a foreign exception may have properties that raise
        return {"error": sentence(error)}


def sentence(error: BaseException, characters: int = LONGEST_TEXT) -> str:
    """Return the name and the text of an exception."""
    return f"{type(error).__name__}: {shown(error, str)}"[:characters]


class _Reporter:
    def __init__(self, traceback_bytes: int) -> None:
        self._bytes = traceback_bytes
        self._seen: set[int] = set()

    def report(self, error: BaseException, characters: int, *, with_causes: bool = True) -> dict[str, Any]:
        self._seen.add(id(error))
        found: dict[str, Any] = {"error": sentence(error, characters), "type": _full_name(type(error))}
        if notes := getattr(error, "__notes__", None):
            found["notes"] = [shown(note, str)[:_CAUSE_CHARACTERS] for note in list(notes)[:_MOST_NOTES]]
        if text := self._traceback(error.__traceback__):
            found["traceback"] = text
        if with_causes and (causes := [self._inner(one, with_causes=False) for one in self._causes(error)]):
            found["causes"] = causes
        if isinstance(error, BaseExceptionGroup) and (members := list(self._members(error))):
            found["members"] = members
        return found

    def _inner(self, error: BaseException, *, with_causes: bool) -> dict[str, Any]:
        return self.report(error, _CAUSE_CHARACTERS, with_causes=with_causes)

    def _causes(self, error: BaseException) -> Iterator[BaseException]:
        """Return what led to an exception, nearest first: what it was raised from, or else while handling."""
        cause = _cause(error)
        while cause is not None and self._has_room_for(cause):
            yield cause
            cause = _cause(cause)

    def _has_room_for(self, error: BaseException) -> bool:
        return id(error) not in self._seen and len(self._seen) < _MOST_ERRORS

    def _members(self, group: BaseExceptionGroup[Any]) -> Iterator[dict[str, Any]]:
        for member in group.exceptions:
            if self._has_room_for(member):
                yield self._inner(member, with_causes=True)

    def _traceback(self, trace: TracebackType | None) -> str:
        """Return the frames of a traceback, Jabba's own at its beginning cut away; the innermost ones are kept."""
        if trace is None or self._bytes <= 0:
            return ""
        frames = traceback.extract_tb(_outside(trace), limit=-_MOST_FRAMES)
        text = json_codec.storable("".join(frames.format()).rstrip()).encode()
        if len(text) > self._bytes:
            # Whole lines only.
            text = text[-self._bytes :].partition(b"\n")[2]
        self._bytes -= len(text)
        return text.decode()


def _outside(trace: TracebackType) -> TracebackType | None:
    found: TracebackType | None = trace
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OWN_FRAMES):
        found = found.tb_next
    return found


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _full_name(cls: type[BaseException]) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
