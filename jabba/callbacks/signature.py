"""Signatures of calls by Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body``, scheme ``v1``."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from jabba.errors import JabbaError

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"

_SCHEME = "v1,"
_PREFIX = "whsec_"
_LEAST_SECRET_BYTES = 24
_MOST_SECRET_BYTES = 64
_TIMESTAMP_DIGITS = 12
_MOST_HEADER_CHARACTERS = 10_000


class SignatureError(JabbaError):
    """A request that is not signed with a known secret, or not now; the message says what is wrong, and no secret."""


def secret_bytes(secret: str) -> bytes:
    """Return the key of a secret in its written form, ``whsec_`` and 24 to 64 bytes as base64.

    Raises:
        SignatureError: it has another form.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX).encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    if not secret.startswith(_PREFIX) or not _LEAST_SECRET_BYTES <= len(key) <= _MOST_SECRET_BYTES:
        raise SignatureError(f"a secret is {_PREFIX} and {_LEAST_SECRET_BYTES} to {_MOST_SECRET_BYTES} bytes as base64")
    return key


def sign(secret: bytes, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002 — the specification's word
    """Return one signature, ``v1,`` and base64; ``timestamp`` is in seconds since the epoch."""
    signed = b"%s.%d.%s" % (id.encode(), timestamp, body)
    return _SCHEME + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def verify(
    secrets: Iterable[bytes], headers: Mapping[str, str], body: bytes, now: float, tolerance: float = 300.0
) -> None:
    """Return if a request is signed with one of the secrets, within ``tolerance`` seconds of ``now``.

    ``headers`` has lower-case names, or ignores case as those of aiohttp. Every signature is compared with every
    secret, in a time that depends only on how many there are.

    Raises:
        SignatureError: it is not.
    """
    id_, timestamp, signatures = (_header(headers, name) for name in (ID, TIMESTAMP, SIGNATURE))
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_DIGITS):
        raise SignatureError(f"{TIMESTAMP} is not a number of seconds")
    if abs(now - int(timestamp)) > tolerance:
        raise SignatureError(f"{TIMESTAMP} is more than {tolerance:g} seconds from now")
    candidates = [one.encode(errors="replace") for one in signatures.split(" ") if one.startswith(_SCHEME)]
    matches = False
    for secret in secrets:
        expected = sign(secret, id_, int(timestamp), body).encode()
        for candidate in candidates:
            matches |= hmac.compare_digest(candidate, expected)
    if not matches:
        raise SignatureError(f"{SIGNATURE} has no signature with a known secret")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value or len(value) > _MOST_HEADER_CHARACTERS:
        raise SignatureError(f"{name} is missing, or longer than {_MOST_HEADER_CHARACTERS:,} characters")
    if not value.isprintable():
        raise SignatureError(f"{name} has characters that cannot be printed")
    return value
