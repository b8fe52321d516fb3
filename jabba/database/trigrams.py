"""The parts of a text, by which an index finds those that hold another one.

A text is cut into all of its trigrams, the three characters that stand side by side anywhere in it, lowered as ILIKE
compares them. Whatever holds a part has the part's trigrams, and few others have all of them; ILIKE tells them apart.

They are an array in JSON because of what the planner expects of ``@>``: of JSON it tries it on a sample of rows, of
other arrays it takes the elements for independent, and so every long text for rare. No function of ours is in it: an
index would tie the function to its table, through every rebuild and for every role.
"""

from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal
from sqlalchemy.dialects.postgresql import JSONB

SHORTEST = 3
"""A shorter part has no trigrams, and is looked for in every text."""

_STARTS = range(1, SHORTEST + 1)
_NOT_IN_JSON = r'["\\\u0001-\u001f]'
_PADDING = "  "


def trigrams(text: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return what the index holds of a text: its trigrams, and its ends filled up to three characters.

    What the padding leaves over is white space between two elements.
    """
    return _array([_small(text, start) + _text(_PADDING) for start in _STARTS])


def trigrams_of_part(part: str) -> ColumnElement[Any]:
    """Return what the index must hold of every text with this part: its trigrams."""
    texts = [_small(_text(part), start) for start in _STARTS]
    return _array([func.left(text, func.length(text) - func.length(text) % SHORTEST) for text in texts])


def _small(text: ColumnElement[Any], start: int) -> ColumnElement[Any]:
    """Write a text in small letters from a character on, with a space for whatever JSON has no letter for."""
    return func.substr(func.regexp_replace(func.lower(text), _text(_NOT_IN_JSON), _text(" "), _text("g")), start)


def _array(texts: list[ColumnElement[Any]]) -> ColumnElement[Any]:
    """Return every three characters of these texts as an array, which always ends in an empty one."""
    elements = _text("[")
    for text in texts:
        elements += func.regexp_replace(text, _text("(...)"), _text(r'"\1",'), _text("g"), type_=Text)
    return cast(elements + _text('""]'), JSONB)


def _text(value: str) -> ColumnElement[str]:
    return literal(value, Text)
