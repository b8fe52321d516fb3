"""API keys: their form, and what is kept of them, which is everything but the secret.

A key is ``jabba_ID_SECRET``: the id may be known to anyone, the secret is 256 random bits. One SHA-256 is enough to
store it by: slow hashes are for passwords, which can be guessed; nobody can try 2^256 secrets.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from jabba.auth.roles import Caller, Role, TypeScope
from jabba.errors import Unauthorized

_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(r"jabba_([0-9a-f]{12})_[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is stored; ``hash`` is that of its whole text."""

    id: str
    name: str | None
    role: Role
    types: TypeScope
    hash: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_text(self, text: str) -> bool:
        """Return whether this is the text of the key, in a time that tells nothing of how much of it is right."""
        return hmac.compare_digest(self.hash, hash_of(text))

    def is_over(self, now: float) -> str:
        """Return why the key is not valid (any more) at ``now``, in seconds since the epoch; empty when it is."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at.timestamp() <= now else ""

    def caller(self, now: float) -> Caller:
        """Return who calls with this key.

        Raises:
            Unauthorized: it has expired, or was revoked.
        """
        if over := self.is_over(now):
            raise Unauthorized(f"this key is {over}")
        return Caller(self.role, self.types, self.id)


def new_key(
    role: Role, created_at: datetime, *, types: TypeScope, name: str | None = None, expires_at: datetime | None = None
) -> tuple[Key, str]:
    """Make a key; return what is stored of it, and its text, which nothing else has."""
    id_ = secrets.token_hex(_ID_BYTES)
    text = f"jabba_{id_}_{secrets.token_hex(_SECRET_BYTES)}"
    return Key(id_, name, role, types, hash_of(text), created_at, expires_at), text


def id_of(text: str) -> str | None:
    """Return the id in a key's text, or None when it has not the form of one."""
    found = _KEY.fullmatch(text)
    return found and found[1]


def hash_of(text: str) -> str:
    """Return what is stored instead of a key's text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
