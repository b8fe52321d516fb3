"""The keys that a web process has seen: PostgreSQL has the truth, and may be away."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from jabba.auth import api_keys
from jabba.auth.api_keys import Key
from jabba.auth.roles import Caller
from jabba.clock import Clock
from jabba.errors import Unauthorized, Unavailable
from web.dataloader import DataLoader

Find = Callable[[Iterable[str]], Awaitable[Mapping[str, Key]]]
"""Answers those of the keys, by id, that there are."""

_PATIENCE_SECONDS = 1.0
"""How long a request with a known key waits to hear whether it still is one."""

_REMEMBERED = 10_000
"""Ids that are no key's; others are asked for again."""


@dataclass(slots=True)
class _Known:
    """A key, when PostgreSQL last had it, and until when it is believed; seconds of the monotonic clock."""

    key: Key
    seen_at: float
    until: float


class Seen(NamedTuple):
    """A key, and when PostgreSQL last had it, in whole seconds since the epoch."""

    key: Key
    at: int


class _Found(NamedTuple):
    """What PostgreSQL says: a key, or that there is none."""

    key: Key | None


class Authenticator:
    """Tells who calls by the key that comes with a request.

    What is known is believed for ``seconds``. While PostgreSQL is away a known key is believed for ``outage_seconds``
    from when it was last seen; an unknown one cannot be told from none. Only ids and hashes are kept.
    """

    def __init__(self, find: Find, clock: Clock, *, seconds: float, outage_seconds: float) -> None:
        self._find = find
        self._clock = clock
        self._seconds = seconds
        self._outage_seconds = outage_seconds
        self._questions = DataLoader(self._ask)
        self._known: dict[str, _Known] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def caller(self, text: str) -> Caller:
        """Return who calls with the text of a key.

        Raises:
            Unauthorized: it is no key, or not valid any more.
            Unavailable: PostgreSQL cannot tell.
        """
        key_id = api_keys.id_of(text)
        key = None if key_id is None else await self._key(key_id)
        if key is None or not key.is_text(text):
            raise Unauthorized("this key is not known")
        return key.caller(self._clock.now())

    async def caller_of(self, key_id: str) -> Caller:
        """Return who acts with a key of this id, in a session that the key has opened.

        Raises:
            Unauthorized: the key is not valid any more.
            Unavailable: PostgreSQL cannot tell.
        """
        key = await self._key(key_id)
        if key is None:
            raise Unauthorized("this key is not known")
        return key.caller(self._clock.now())

    def seen(self) -> list[Seen]:
        """Return the keys that are known and valid, for who may have to go on without PostgreSQL."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        valid = (known for known in self._known.values() if not known.key.is_over(now))
        return [Seen(known.key, int(now - (monotonic - known.seen_at))) for known in valid]

    def recall(self, seen: Iterable[Seen]) -> None:
        """Take up what another process has seen: it counts while PostgreSQL is away, and no longer than there."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        for key, at in seen:
            if 0 <= now - at <= self._outage_seconds:
                self._known[key.id] = _Known(key, monotonic - (now - at), monotonic)

    async def _key(self, key_id: str) -> Key | None:
        now = self._clock.monotonic()
        known = self._known.get(key_id)
        if known is not None:
            return known.key if known.until > now else await self._asked_again(known)
        if self._unknown.get(key_id, now) > now:
            return None
        found = await self._questions.ask(key_id)
        if found is None:
            raise Unavailable("PostgreSQL does not answer whether this is a key")
        return found.key

    async def _asked_again(self, known: _Known) -> Key | None:
        found = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                found = await self._questions.ask(known.key.id)
        return found.key if found is not None else self._during_outage(known)

    def _during_outage(self, known: _Known) -> Key:
        now = self._clock.monotonic()
        if now > known.seen_at + self._outage_seconds:
            raise Unavailable("PostgreSQL has been away for too long to go on with this key")
        known.until = now + self._seconds
        return known.key

    async def _ask(self, ids: Iterable[str]) -> Mapping[str, _Found]:
        """Ask PostgreSQL, and keep what it says even when nobody waits for it any more."""
        asked = list(ids)
        found = await self._find(asked)
        now = self._clock.monotonic()
        for key_id in asked:
            self._keep(key_id, found.get(key_id), now)
        return {key_id: _Found(found.get(key_id)) for key_id in asked}

    def _keep(self, key_id: str, key: Key | None, now: float) -> None:
        if key is not None:
            self._unknown.pop(key_id, None)
            self._known[key_id] = _Known(key, now, now + self._seconds)
            return
        self._known.pop(key_id, None)
        self._unknown[key_id] = now + self._seconds
        self._unknown.move_to_end(key_id)
        if len(self._unknown) > _REMEMBERED:
            self._unknown.popitem(last=False)
