"""Reading messages one item at a time where that is needed: a faulty item costs its neighbours nothing."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from jabba.jobs import json_codec
from jabba.jobs.models import explained

Content = TypeVar("Content")


class Fault(NamedTuple):
    """A message, or one item of it as a message of its own, that cannot be decoded."""

    value: bytes
    reason: str


def decode_each(
    value: bytes, decode: Callable[[bytes], list[Content]], decode_one: Callable[[bytes], Content]
) -> tuple[list[Content], list[Fault]]:
    """Return what a message has, and what of it cannot be decoded.

    ``decode`` reads a whole message, ``decode_one`` an item; both raise ValueError.
    """
    try:
        return decode(value), []
    except ValueError as error:
        items = json_codec.split_list(value)
        if items is None:
            return [], [Fault(value, f"cannot be decoded: {explained(error)}")]
    contents, faults = [], []
    for number, item in enumerate(items):
        try:
            contents.append(decode_one(item))
        except ValueError as error:
            faults.append(
                Fault(b"[" + item + b"]", f"item {number} of {len(items)} cannot be decoded: {explained(error)}")
            )
    return contents, faults


def decode_documents(value: bytes) -> list[Any]:
    """Read a message as a list of JSON values.

    Raises:
        ValueError: it is none.
    """
    documents = json_codec.decode(value)
    if not isinstance(documents, list):
        message = "not a list"
        raise ValueError(message)  # noqa: TRY004 — a reader treats every wrong message alike
    return documents
