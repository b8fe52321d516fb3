"""The records of one partition: read back from the changelog, and written so that a predecessor cannot undo them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, ItemsView, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

from jabba.engine.records import Claim, Folded, Parting, Stamp
from jabba.errors import JabbaError, Unavailable

logger = logging.getLogger(__name__)

_Read = TypeVar("_Read")

Batch = Sequence[tuple[int, bytes, bytes | None]]
"""Messages of the changelog that come together: (offset, key, value), at least one."""

EPOCH_KEY = "epoch"
"""Holds the claim of the owner."""

CLEAN_KEY = "clean"
"""Holds the parting of the owner: the next one suspects no step of one that has handed over."""

_WORKS = Parting()
_HAS_LEFT = Parting(clean=True)

_RETRY_SECONDS = 0.1

_PATIENCE_SECONDS = 0.5
"""A former owner is waited for longer than it may record, since clocks do not run equally fast."""


class Unreadable(JabbaError):
    """A record is not one that this version writes: it is newer, or no worker has written it."""


@dataclass(frozen=True, slots=True)
class Changelog:
    """One partition of the changelog.

    ``append`` writes key and value, once, and answers the offset; Unavailable when it is not acknowledged: then it may
    land at any time later, or never. ``read`` answers the messages from an offset to the end at the time of the call,
    ``follow`` those that come within so many seconds, too.
    """

    append: Callable[[bytes, bytes | None], Awaitable[int]]
    read: Callable[[int], AsyncIterator[Batch]]
    follow: Callable[[int, float], AsyncGenerator[Batch, None]]


class Store:
    """One partition of the table, in memory and in its changelog.

    Memory changes only after the changelog has acknowledged. Keys end in the stamp of the write, so that a late one, of
    a former owner or of a producer that was replaced, can neither win nor make compaction delete its successor.
    ``may_write`` returns when records may be written, and raises once the partition has been lost. A hand-over, of any
    worker, takes ``handover_seconds`` at most.
    """

    def __init__(
        self,
        changelog: Changelog,
        may_write: Callable[[], Awaitable[None]],
        now: Callable[[], float],
        handover_seconds: float = 5.0,
    ) -> None:
        self._log = changelog
        self._may_write = may_write
        self._now = now
        self._handover_seconds = handover_seconds
        self._claim = Claim(0.0)
        self._parting: Parting | None = _WORKS
        self._parts = asyncio.Lock()
        self._retry = 0
        self._folded = Folded()
        self.epoch = 0
        self.end = 0

    async def load(self) -> None:
        """Read what has been written so far."""
        async for batch in self._log.read(self.end):
            self._absorb(batch)

    async def predecessor(self) -> None:
        """Wait until the former owner has recorded the steps that it still ran when it gave the partition up.

        It has said for how long it may do so: after that it records nothing, even if it is not heard of again.
        """
        finishing = self._former_parting().finishing
        if not finishing:
            return
        async with aclosing(self._log.follow(self.end, finishing + _PATIENCE_SECONDS)) as batches:
            async for batch in batches:
                self._absorb(batch)
                if not self._former_parting().finishing:
                    return

    async def claim(self) -> None:
        """Claim the next epoch of what was loaded.

        The claim is a compare-and-set through the log: if anything came between what was read and the claim, that is
        read too, and a claim that is not the first of its epoch is made again with a higher one.
        """
        self._claim = self._next_claim()
        while True:
            # What was read before this is older than any claim of whoever may own the partition once it is not ours.
            await self._may_write()
            stamp = Stamp(self._folded.epoch + 1)
            loaded = self.end
            offset = await self._log.append(stamp.full_key(EPOCH_KEY), self._claim.encode())
            contested = await self._contested(stamp, offset) if offset > loaded else False
            self._folded.absorb(stamp.full_key(EPOCH_KEY), self._claim.encode())
            self.end = offset + 1
            if not contested:
                self.epoch = stamp.epoch
                return await self._sweep_all()

    @property
    def crashes(self) -> int:
        """Return how many owners in a row have crashed before this one, each soon after it took the partition."""
        return self._claim.crashes

    async def work(self) -> None:
        """Note that this owner works, if it has said anything else before."""
        await self._part(_WORKS)

    async def finish(self, seconds: float) -> None:
        """Note that this owner may record for so many seconds from before this call, and not later."""
        await self._part(Parting(finishing=seconds))

    async def leave(self) -> None:
        """Note that this owner has handed over: the next one waits no longer, and suspects no step.

        It is the last thing that is written, when nothing else may be any more.
        """
        async with self._parts:
            self._parting = None
            while True:
                try:
                    await self._once(CLEAN_KEY, Stamp(self.epoch, self._retry), _HAS_LEFT.encode())
                except Unavailable:
                    # A log that is closed already refuses at once.
                    await asyncio.sleep(_RETRY_SECONDS)
                else:
                    break
            self._parting = _HAS_LEFT

    async def _part(self, parting: Parting) -> None:
        # One at a time: of two with one stamp the one that lands last counts.
        async with self._parts:
            if parting != self._parting:
                # Until it is acknowledged, nobody knows what the next owner would find.
                self._parting = None
                await self.put(CLEAN_KEY, parting.encode())
                self._parting = parting

    def __len__(self) -> int:
        return len(self._folded.values)

    def get(self, key: str) -> bytes | None:
        """Return the value of a key."""
        return self._folded.values.get(key)

    def read(self, key: str, decode: Callable[[bytes], _Read]) -> _Read | None:
        """Return what the value of a key says, if there is one; Unreadable if this version cannot tell."""
        value = self.get(key)
        try:
            return None if value is None else decode(value)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise Unreadable(f"the record {key} cannot be read: {error!r}") from error

    def read_or_tell(self, key: str, decode: Callable[[bytes], _Read]) -> _Read | None:
        """Return what a record says; None if there is none, or none that this version can read, which is told."""
        try:
            return self.read(key, decode)
        except Unreadable as error:
            logger.warning("%s; what it is about waits for a version that can", error)
            return None

    def items(self) -> ItemsView[str, bytes]:
        """Return the keys and values of all records, those of the owner itself included."""
        return self._folded.values.items()

    async def put(self, key: str, value: bytes) -> None:
        """Write a value; once this returns, whoever takes the partition over finds it."""
        stamp = Stamp(self.epoch, self._retry)
        while not await self._acknowledged(key, stamp, value):
            stamp = Stamp(self.epoch, self._retry)
        self._folded.absorb(stamp.full_key(key), value)
        await self._sweep(key)

    async def delete(self, key: str) -> None:
        """Delete a key, those of former owners included."""
        # The newest goes last: it is what hides the others.
        await self._sweep(key)
        stamp = self._folded.stamps.get(key)
        if stamp is not None:
            await self._delete(key, stamp)
            self._folded.absorb(stamp.full_key(key), None)

    def _next_claim(self) -> Claim:
        try:
            saved = self.read(EPOCH_KEY, Claim.decode)
        except Unreadable as error:
            logger.warning("%s; it counts as the first of an owner", error)
            saved = Claim(self._now())
        if saved is None:
            return Claim(self._now())
        return saved.next(self._now(), clean=self._former_parting().clean)

    def _former_parting(self) -> Parting:
        """Return what the last owner has said; one before it does not count."""
        parting, claim = (self._folded.stamps.get(key) for key in (CLEAN_KEY, EPOCH_KEY))
        if parting is None or claim is None or parting.epoch != claim.epoch:
            return _WORKS
        try:
            return self.read(CLEAN_KEY, Parting.decode) or _WORKS
        except Unreadable as error:
            logger.warning("%s; its owner may still record for as long as a hand-over takes", error)
            return Parting(finishing=self._handover_seconds + _PATIENCE_SECONDS)

    def _absorb(self, batch: Batch) -> None:
        absorb = self._folded.absorb
        for offset, key, value in batch:
            try:
                absorb(key, value)
            except (ValueError, AttributeError):
                logger.warning("offset %d of the changelog is passed over: no worker writes the key %r", offset, key)
        self.end = batch[-1][0] + 1

    async def _sweep_all(self) -> None:
        for key in list(self._folded.stale):
            await self._sweep(key)

    async def _sweep(self, key: str) -> None:
        for stamp in sorted(self._folded.stale.pop(key, ())):
            await self._delete(key, stamp)

    async def _delete(self, key: str, stamp: Stamp) -> None:
        while not await self._acknowledged(key, stamp, None):
            pass

    async def _acknowledged(self, key: str, stamp: Stamp, value: bytes | None) -> bool:
        """Write once; return whether it was acknowledged while the partition was ours."""
        await self._may_write()
        try:
            offset = await self._once(key, stamp, value)
        except Unavailable:
            return False
        # Only if the partition is ours even now did the write come before its next owner read it.
        await self._may_write()
        self.end = max(self.end, offset + 1)
        return True

    async def _once(self, key: str, stamp: Stamp, value: bytes | None) -> int:
        try:
            return await self._log.append(stamp.full_key(key), value)
        except BaseException:
            self._outrank(key, stamp, value)
            raise

    def _outrank(self, key: str, stamp: Stamp, value: bytes | None) -> None:
        """Let every later write have a higher stamp than one that was not answered."""
        self._retry = max(self._retry, stamp.retry + 1)
        if value is not None:
            self._folded.outrank(key, stamp)

    async def _contested(self, claim: Stamp, offset: int) -> bool:
        contested = False
        async for batch in self._log.read(self.end):
            if before := list(takewhile(lambda message: message[0] < offset, batch)):
                self._absorb(before)
                contested = contested or any(key == claim.full_key(EPOCH_KEY) for _, key, _ in before)
            if batch[-1][0] >= offset:
                break
        return contested or self._folded.epoch > claim.epoch
