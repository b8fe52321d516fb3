"""The contract of a store: which calls are at work, and how those have ended that must not run again."""

from dataclasses import dataclass
from typing import Protocol

from jabba.errors import JabbaError


class ClaimLost(JabbaError):
    """Another delivery of the same call has taken it over; this one must have no effect any more."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The call is this delivery's; ``claim`` proves it to the store."""

    claim: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Another delivery is at work; ask again in ``seconds``."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """The call has ended: this is its answer, in the form of ``Final.encode``."""

    answer: str


class Store(Protocol):
    """Where a callee keeps final answers; ``id`` is the ``webhook-id`` of a call, the same for all its attempts."""

    @property
    def lease(self) -> float | None:
        """For how many seconds a claim holds unless it is renewed; None for as long as the process lives."""
        ...

    async def claim(self, id: str) -> Claimed | Busy | Kept:  # noqa: A002 — the header's name
        """Take a call, unless it is taken or has ended."""
        ...

    async def renew(self, id: str, claim: str) -> bool:  # noqa: A002
        """Extend a claim by a lease; return whether it still holds."""
        ...

    async def keep(self, id: str, claim: str, answer: str) -> None:  # noqa: A002
        """Keep a final answer, and give the claim up; nothing happens if it no longer holds."""
        ...

    async def release(self, id: str, claim: str) -> None:  # noqa: A002
        """Give a claim up without an answer, so that another attempt may run."""
        ...
