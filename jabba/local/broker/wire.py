"""Kafka's frames: a length of 4 bytes, a header that says what is asked, a body that the question's class reads.

The classes are aiokafka's own. They are written for clients, and read requests and write answers as well.
"""

import asyncio
import struct
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.protocol.api import RequestHeader_v1

_LENGTH = struct.Struct(">i")
_CORRELATION = struct.Struct(">i")
_MAX_REQUEST_BYTES = 64 * 1024 * 1024


class WireError(Exception):
    """What arrived is no request that can be answered; the connection is of no use any more."""


class Question(NamedTuple):
    """A request whose body has not been read; ``client_id`` is how the client calls itself."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str
    body: BytesIO


async def receive(reader: asyncio.StreamReader) -> Question | None:
    """Wait for a request; return None when the client is gone.

    Raises:
        WireError: it is none.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if not 0 < length <= _MAX_REQUEST_BYTES:
            raise WireError(f"a request of {length} bytes")
        content = BytesIO(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    try:
        fields = RequestHeader_v1.SCHEMA.decode(content)
    except ValueError as error:
        raise WireError(f"a request without a header: {error}") from error
    api_key, api_version, correlation_id, client_id = fields
    return Question(api_key, api_version, correlation_id, client_id or "", content)


def read_body(question: Question, kind: type[Any]) -> Any:
    """Read the body of a request of this class.

    Raises:
        WireError: it is not of this class.
    """
    try:
        return kind.decode(question.body)
    except (ValueError, TypeError, MemoryError) as error:
        raise WireError(f"a broken {kind.__name__}: {error}") from error


def framed(question: Question, answer: Any) -> bytes:
    """Return the frame that answers a request."""
    body = answer.encode()
    return b"".join((_LENGTH.pack(_CORRELATION.size + len(body)), _CORRELATION.pack(question.correlation_id), body))
