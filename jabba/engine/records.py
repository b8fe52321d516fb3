"""Records: what the changelog keeps of work in flight, and nothing more."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple, Self
from uuid import UUID

from jabba.engine.attempts import Attempts
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import Outcome, TaskAttempted
from jabba.messages.slices import Slice


class LaneName(NamedTuple):
    """Which slice of which job a lane runs, and the keys under which the table keeps what belongs to it."""

    job: UUID
    run: int
    k: int

    @classmethod
    def of(cls, slice_: Slice) -> Self:
        """Return the name of a slice's lane."""
        return cls(slice_.job, slice_.run, slice_.k)

    @classmethod
    def parse(cls, key: str) -> Self:
        """Read the name back from the key of anything that belongs to a lane."""
        _, job, run, k, *_ = key.split("/")
        return cls(UUID(job), int(run), int(k))

    @property
    def key(self) -> str:
        """The lane's record."""
        return f"{LANE_PREFIX}{self.job}/{self.run}/{self.k}"

    @property
    def slice_key(self) -> str:
        """The slice of a lane that lives in the table."""
        return f"{SLICE_PREFIX}{self.job}/{self.run}/{self.k}"

    @property
    def job_key(self) -> str:
        """The record that orders the slices of a sequential job."""
        return f"job/{self.job}/{self.run}"

    def outcome_key(self, tag: str) -> str:
        """A large outcome, until its event is acknowledged; two that differ have different tags."""
        return f"{OUTCOME_PREFIX}{self.job}/{self.run}/{self.k}/{tag}"


def lane_key_of(key: str) -> str:
    """Return the key of the record of the lane that a key belongs to; cheap, since a table may hold a million."""
    _, job, run, k, *_ = key.split("/")
    return f"{LANE_PREFIX}{job}/{run}/{k}"


def slice_key_of(lane_key: str) -> str:
    """Return the key of the slice of the lane that a record is about."""
    return SLICE_PREFIX + lane_key.removeprefix(LANE_PREFIX)


LANE_PREFIX = "lane/"
SLICE_PREFIX = "slice/"
OUTCOME_PREFIX = "outcome/"


def outcome_tag(outcome: Outcome | TaskAttempted) -> str:
    """Return what tells a large outcome from all others of its lane: which task it ends, and its version."""
    return f"{outcome.index}:{outcome.version.epoch}.{outcome.version.seq}"


@dataclass(frozen=True, slots=True)
class LaneRecord:
    """Where a lane stands.

    ``done`` has bit i set once task ``first + i`` has ended. ``outcomes`` are the encoded events that may not have been
    acknowledged when the record was written, ``large`` the tags of those kept under keys of their own. ``offset`` is
    the slice's place in its partition, ``seq`` the last number given to an event. ``adopted`` lanes have their slice in
    the table; they wait there until ``due`` (seconds since the epoch), or for their ``turn``. ``suspects`` counts, by
    index, how often a worker died while it ran that step alone; ``attempts`` has, by index, where the tasks stand that
    did not end at their first attempt. ``ended`` is when the lane ended: such a record is a
    marker, by which a repeated submission is recognised.
    """

    digest: str
    offset: int
    seq: int = 0
    done: int = 0
    failed: bool = False
    ended: float | None = None
    outcomes: tuple[bytes, ...] = ()
    large: tuple[str, ...] = ()
    adopted: bool = False
    due: float | None = None
    turn: bool = False
    suspects: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, Attempts] = field(default_factory=dict)

    @classmethod
    def start(cls, slice_: Slice, offset: int) -> Self:
        """Make the record of a slice of which nothing has run, or nothing since its last run."""
        done = sum(1 << index - slice_.first for index in set(slice_.done))
        return cls(slice_.digest, offset, done=done, failed=slice_.failed)

    def marker(self, now: float) -> Self:
        """Return what remains of a lane that has ended and whose events are acknowledged."""
        return type(self)(self.digest, self.offset, seq=self.seq, failed=self.failed, ended=now)

    def encode(self) -> bytes:
        """Return the wire form; that of a marker is short, since a table may hold a million of them."""
        told: dict[str, Any] = {
            "v": 1,
            "ended": self.ended,
            "digest": self.digest,
            "offset": self.offset,
            "seq": self.seq,
            "failed": self.failed,
        }
        if self.ended is not None:
            return json_codec.encode(told)
        told |= {
            "done": f"{self.done:x}",
            "large": self.large,
            "adopted": self.adopted,
            "due": self.due,
            "turn": self.turn,
            "suspects": self.suspects,
        }
        if self.attempts:
            told["attempts"] = {index: one.encode() for index, one in self.attempts.items()}
        return json_codec.encode(told)[:-1] + b',"outcomes":[' + b",".join(self.outcomes) + b"]}"

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Read the wire form; its outcomes are encoded again as they were."""
        found = _decode(text)
        told = found["digest"], found["offset"]
        if found["ended"] is not None:
            return cls(*told, seq=found["seq"], failed=found["failed"], ended=found["ended"])
        return cls(
            *told,
            seq=found["seq"],
            done=int(found["done"], 16),
            failed=found["failed"],
            outcomes=tuple(json_codec.encode(outcome) for outcome in found["outcomes"]),
            large=tuple(found["large"]),
            adopted=found["adopted"],
            due=found["due"],
            turn=found["turn"],
            suspects=found["suspects"],
            attempts={index: Attempts.decode(one) for index, one in found.get("attempts", {}).items()},
        )


_KNOWN = b'{"v":1,"ended":'
_LIVE = _KNOWN + b"null,"


def is_marker(text: bytes) -> bool:
    """Tell a marker from the record of a live lane without reading it: a table may hold a million of them."""
    return text.startswith(_KNOWN) and not text.startswith(_LIVE)


def _decode(text: bytes) -> Any:
    """Read a record of this version: what a newer one says of its work may mean something else."""
    found = json_codec.decode(text)
    if found["v"] != 1:
        raise ValueError(f"it is of version {found['v']}")
    return found


@dataclass(frozen=True, slots=True)
class JobRecord:
    """How far a sequential job of several slices has come: slice ``next`` is the one to run, unless it has failed."""

    n_slices: int
    next: int = 0
    failed: bool = False

    def after(self, k: int, *, failed: bool) -> Self:
        """Return the record once slice ``k`` has ended."""
        return replace(self, next=max(self.next, k + 1), failed=self.failed or failed)

    def encode(self) -> bytes:
        """Return the wire form."""
        return json_codec.encode({"v": 1, "n_slices": self.n_slices, "next": self.next, "failed": self.failed})

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Read the wire form."""
        found = _decode(text)
        return cls(found["n_slices"], found["next"], found["failed"])


CALM_SECONDS = 3600.0
"""An owner that lived for longer than this was not brought down by its partition.

A step may take minutes to bring a worker down: one that hangs, until the stall limit; one that fills the memory.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who owns a partition, ``since`` when; ``crashes`` counts the owners in a row that crashed before it."""

    since: float
    crashes: int = 0

    def next(self, now: float, *, clean: bool) -> Self:
        """Return the claim of the owner after this one, which left ``clean`` or crashed."""
        if clean:
            return type(self)(now)
        quick = now - self.since < CALM_SECONDS
        return type(self)(now, crashes=(self.crashes if quick else 0) + 1)

    def encode(self) -> bytes:
        """Return the wire form."""
        return json_codec.encode({"v": 1, "since": self.since, "crashes": self.crashes})

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Read the wire form."""
        found = _decode(text)
        return cls(float(found["since"]), int(found["crashes"]))


@dataclass(frozen=True, slots=True)
class Parting:
    """Whether an owner has parted from its partition.

    ``clean`` once it has handed over: nothing of it runs any more. Before that it may say that it is ``finishing``: for
    so many seconds at most it may still record steps that run, and whoever gets the partition waits for them.
    """

    clean: bool = False
    finishing: float = 0.0

    def encode(self) -> bytes:
        """Return the wire form."""
        return json_codec.encode({"v": 1, "clean": self.clean, "finishing": self.finishing})

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Read the wire form."""
        found = _decode(text)
        return cls(found["clean"], float(found.get("finishing", 0.0)))


class Stamp(NamedTuple):
    """What a key in the changelog ends in: the highest wins.

    ``epoch`` counts the owners of the partition; ``retry`` the writes of this owner that were not answered. Such a
    write may still land behind later ones, when its producer has been replaced, and must not undo them.
    """

    epoch: int
    retry: int = 0

    def full_key(self, key: str) -> bytes:
        """Return the key as the changelog has it."""
        return f"{key}/{self.epoch}.{self.retry}".encode()


@cache
def _stamp(text: str) -> Stamp:
    epoch, _, retry = text.partition(".")
    return Stamp(int(epoch), int(retry))


@dataclass(slots=True)
class Folded:
    """A changelog partition read from its beginning: the newest value of each key, its stamp, and whose turn it is.

    A tuple of the two for each key would take more memory, and all of them are looked at in every full collection.
    """

    values: dict[str, bytes] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    stale: dict[str, set[Stamp]] = field(default_factory=dict)
    epoch: int = 0

    def absorb(self, key: bytes, value: bytes | None) -> None:
        """Take in one message in the order of the log.

        What a former owner wrote after its successor had read the partition counts too, unless the successor has
        written the same key since: it came from what both knew.
        """
        name, _, text = key.decode().rpartition("/")
        stamp = _stamp(text)
        known = self.stamps.get(name)
        if value is None:
            self._forget(name, stamp, known)
            return
        # Most keys are new when a million of them are read: those go the shortest way.
        if known is not None and stamp != known:
            self.outrank(name, min(stamp, known))
            if stamp < known:
                return
        if stamp.epoch > self.epoch:  # noqa: PLR1730 — for a million keys this is a tenth of the time
            self.epoch = stamp.epoch
        self.stamps[name] = stamp
        self.values[name] = value

    def outrank(self, name: str, stamp: Stamp) -> None:
        """Note that a key has, or may have, a value in the changelog that does not count and should be deleted."""
        self.stale.setdefault(name, set()).add(stamp)

    def _forget(self, name: str, stamp: Stamp, known: Stamp | None) -> None:
        if known == stamp:
            del self.values[name], self.stamps[name]
        elif name in self.stale:
            self.stale[name].discard(stamp)
