"""Browser sessions: signed cookies, and the one-time codes of links that open one."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable

from jabba.auth import tokens
from jabba.errors import Unauthorized

_SESSION = "session"
_SIGN_IN = "sign-in"
_REMEMBERED_CODES = 10_000

LINK_SECONDS = 600.0
"""How long a sign-in link is valid."""


class Sessions:
    """Issues and reads session cookies; ``seconds`` is their lifetime.

    A cookie holds the id of its key and a time, signed with ``secret``: it is valid wherever the secret is the same,
    and no longer than its key. A code is accepted once by a process.
    """

    def __init__(self, secret: bytes, now: Callable[[], float], seconds: float) -> None:
        self.seconds = seconds
        self._secret = secret
        self._now = now
        self._used: OrderedDict[str, None] = OrderedDict()

    def cookie_of(self, key_id: str) -> str:
        """Return the value of a new cookie."""
        return tokens.sign(self._secret, _SESSION, {"key": key_id}, self._now() + self.seconds)

    def key_of(self, cookie: str) -> str:
        """Return the id of the key of a cookie.

        Raises:
            Unauthorized: it was not issued with this secret, or has expired.
        """
        return str(tokens.read(self._secret, _SESSION, cookie, self._now())["key"])

    def redeem(self, code: str) -> str:
        """Return the id of the key of a sign-in code, once.

        Raises:
            Unauthorized: it was not issued with this secret, has expired or was used.
        """
        claims = tokens.read(self._secret, _SIGN_IN, code, self._now())
        if claims["nonce"] in self._used:
            raise Unauthorized("this link was used before")
        self._used[claims["nonce"]] = None
        if len(self._used) > _REMEMBERED_CODES:
            self._used.popitem(last=False)
        return str(claims["key"])


def sign_in_code(secret: bytes, key_id: str, now: float) -> str:
    """Return a code that opens one session within ten minutes."""
    claims = {"key": key_id, "nonce": secrets.token_hex(8)}
    return tokens.sign(secret, _SIGN_IN, claims, now + LINK_SECONDS)


def secret_of(given: str) -> bytes:
    """Return the signing key of a secret text; without one, a random key that ends with this process."""
    return hashlib.sha256(given.encode()).digest() if given else secrets.token_bytes(32)
