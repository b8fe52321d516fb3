"""JSON as Jabba stores it: UTF-8, finite numbers, no NUL characters (PostgreSQL's jsonb refuses them)."""

import math
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, from_json, to_json

from jabba.errors import InvalidRequest

# What a faulty value leaves in the encoded text. They may also stand in harmless strings, hence the walk behind them.
_SUSPECTS = (b"\\u0000", b"NaN", b"Infinity")


def encode(value: Any, path: str = "") -> bytes:
    """Encode a value as JSON.

    Raises:
        InvalidRequest: the value has no JSON form; the field is the path to it, below ``path``.
    """
    try:
        text = to_json(value, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidRequest.at(path, f"has no JSON form: {error}") from error
    if any(suspect in text for suspect in _SUSPECTS):
        refuse_unstorable(value, path)
    return text


def encode_model(model: BaseModel, path: str) -> bytes:
    """Encode a validated model without its defaults; errors as ``encode``."""
    try:
        text = model.__pydantic_serializer__.to_json(model, exclude_defaults=True)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidRequest.at(path, f"has no JSON form: {error}") from error
    if any(suspect in text for suspect in _SUSPECTS):
        refuse_unstorable(model.model_dump(), path)
    return text


def decode(text: bytes | str) -> Any:
    """Decode JSON text.

    Raises:
        ValueError: it is not JSON; the message gives line and column.
    """
    return from_json(text, allow_inf_nan=False)


def refuse_unstorable(value: Any, path: str) -> None:
    """Raise InvalidRequest for the first number that is not finite and the first text that holds NUL."""
    for where, leaf in _leaves(value, path):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise InvalidRequest.at(where, f"{leaf} is not a JSON number")
        if isinstance(leaf, str) and "\0" in leaf:
            raise InvalidRequest.at(where, "holds a NUL character, which cannot be stored")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key!r}", key
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value
