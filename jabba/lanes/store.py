"""The records of one partition: read back from the changelog, and written so that a predecessor cannot undo them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

from jabba.errors import JabbaError, Unavailable
from jabba.lanes.records import Claim, Folded

Append = Callable[[bytes, bytes | None], Awaitable[int]]
"""Appends key and value to the changelog partition and answers the offset; Unavailable when it is not acknowledged."""

Read = Callable[[int], AsyncIterator[tuple[int, bytes, bytes | None]]]
"""Reads (offset, key, value) of the changelog partition, from an offset to its end at the time of the call."""

EPOCH_KEY = "epoch"


class Retired(JabbaError):
    """The partition was lost while its record was to be written."""


class Store:
    """One partition of the table, in memory and in its changelog.

    Memory changes only after the changelog has acknowledged. Keys end in the epoch of the owner, so that the late write
    of a former one cannot make compaction delete its successor's record.
    """

    def __init__(
        self, append: Append, read: Read, may_write: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._append = append
        self._read = read
        self._may_write = may_write
        self._now = now
        self._claim = Claim(0.0, clean=True)
        self._folded = Folded()
        self.epoch = 0
        self.end = 0
        self._retired = False

    async def take(self) -> None:
        """Load the partition and claim the next epoch.

        The claim is a compare-and-set through the log: if anything came between what was read and the claim, that is
        read too, and a claim that is not the first of its epoch is made again with a higher one.
        """
        await self._load()
        saved = self.get(EPOCH_KEY)
        self._claim = (Claim.decode(saved) if saved else self._claim).next(self._now())
        while True:
            await self._may_write()
            epoch = self._folded.epoch + 1
            loaded = self.end
            offset = await self._append(_full_key(EPOCH_KEY, epoch), self._claim.encode())
            contested = await self._contested(epoch, offset) if offset > loaded else False
            self._folded.absorb(_full_key(EPOCH_KEY, epoch), self._claim.encode())
            self.end = offset + 1
            if not contested:
                self.epoch = epoch
                return await self._sweep(EPOCH_KEY)

    @property
    def crashes(self) -> int:
        """Answer how many owners in a row have crashed before this one, each soon after it took the partition."""
        return self._claim.crashes

    async def mark(self, *, clean: bool) -> None:
        """Note whether nothing is running: the next owner of a clean partition suspects no step."""
        if clean != self._claim.clean:
            self._claim = replace(self._claim, clean=clean)
            await self.put(EPOCH_KEY, self._claim.encode())

    def __len__(self) -> int:
        return len(self._folded.values)

    def get(self, key: str) -> bytes | None:
        """Answer the value of a key."""
        found = self._folded.values.get(key)
        return found[1] if found else None

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Answer all keys and values, claims aside."""
        return ((key, value) for key, (_, value) in self._folded.values.items() if key != EPOCH_KEY)

    async def put(self, key: str, value: bytes) -> None:
        """Write a value; once this returns, whoever takes the partition over finds it."""
        await self._write(_full_key(key, self.epoch), value)
        self._folded.absorb(_full_key(key, self.epoch), value)
        await self._sweep(key)

    async def delete(self, key: str) -> None:
        """Delete a key, those of former owners included."""
        if key in self._folded.values:
            epoch = self._folded.values[key][0]
            await self._write(_full_key(key, epoch), None)
            self._folded.absorb(_full_key(key, epoch), None)
        await self._sweep(key)

    def retire(self) -> None:
        """Refuse all further writes: the partition has gone to another owner."""
        self._retired = True

    async def _sweep(self, key: str) -> None:
        for epoch in self._folded.stale.pop(key, ()):
            await self._write(_full_key(key, epoch), None)

    async def _write(self, key: bytes, value: bytes | None) -> None:
        while True:
            await self._may_write()
            if self._retired:
                raise Retired
            try:
                offset = await self._append(key, value)
            except Unavailable:
                continue
            # Only if the partition is still ours now did the write come before its next owner read it.
            await self._may_write()
            if self._retired:
                raise Retired
            self.end = max(self.end, offset + 1)
            return

    async def _load(self) -> None:
        async for offset, key, value in self._read(self.end):
            self._folded.absorb(key, value)
            self.end = offset + 1

    async def _contested(self, claim: int, offset: int) -> bool:
        contested = False
        async for other, key, value in self._read(self.end):
            if other >= offset:
                break
            self._folded.absorb(key, value)
            contested = contested or key == _full_key(EPOCH_KEY, claim)
        return contested or self._folded.epoch > claim


def _full_key(key: str, epoch: int) -> bytes:
    return f"{key}/{epoch}".encode()
