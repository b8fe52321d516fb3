"""Signed tokens that carry their own claims, so that whoever knows the secret can check them without a database.

A token is ``CLAIMS.SIGNATURE``, both in URL-safe base64: the claims as JSON with ``exp``, in whole seconds since the
epoch, and an HMAC-SHA256 over the purpose and the claims. A token for one purpose is never valid for another.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from jabba.errors import Unauthorized

_MOST_CHARACTERS = 4096


def sign(secret: bytes, purpose: str, claims: Mapping[str, Any], expires: float) -> str:
    """Return a token that is valid until ``expires``, in seconds since the epoch."""
    body = _encode(json.dumps({**claims, "exp": int(expires)}, separators=(",", ":")).encode())
    return f"{body}.{_encode(_signature(secret, purpose, body))}"


def read(secret: bytes, purpose: str, token: str, now: float) -> dict[str, Any]:
    """Return the claims of a token.

    Raises:
        Unauthorized: it is not a token, was signed with another secret or for another purpose, or has expired.
    """
    body, dot, signature = token.partition(".")
    if not dot or len(token) > _MOST_CHARACTERS or not token.isascii():
        raise Unauthorized("this is not a token")
    if not hmac.compare_digest(signature, _encode(_signature(secret, purpose, body))):
        raise Unauthorized("the token's signature is wrong")
    try:
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError) as error:
        raise Unauthorized("this is not a token") from error
    if claims["exp"] <= now:
        raise Unauthorized("the token has expired")
    return claims


def _signature(secret: bytes, purpose: str, body: str) -> bytes:
    return hmac.digest(secret, f"{purpose}.{body}".encode(), hashlib.sha256)


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
