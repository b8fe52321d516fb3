"""A consumer group: who is in it, and who reads what — rules only, without a socket, with the time handed in.

This is Kafka's classic protocol. Members join, the broker ends the round when all have (or after their rebalance
timeout) and names a leader; the leader says in its sync who reads what, and each sync is answered with its share.
Every round has a number, its generation. Whoever comes with an older one, or is not in the group, is refused.
"""

import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import uuid4

from aiokafka.errors import (
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from jabba.clock import Clock

NO_GENERATION = -1
NEW_MEMBER = ""

Answer_contra = TypeVar("Answer_contra", contravariant=True)


class Reply(Protocol[Answer_contra]):
    """Where an answer that may come later is given, once; futures are of this kind."""

    def done(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def set_result(self, result: Answer_contra, /) -> None:
        """Answer."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """Refuse."""
        ...


class State(enum.Enum):
    """What a group is doing."""

    EMPTY = "nobody is in it"
    JOINING = "a round has begun: members join"
    SYNCING = "all have joined: the leader is to say who reads what"
    STABLE = "every member knows what it reads"


@dataclass(frozen=True, slots=True)
class Application:
    """What a member says when it joins; ``protocols`` are its ways of sharing out, best first, with its wishes."""

    client_id: str
    protocol_type: str
    protocols: list[tuple[str, bytes]]
    session_seconds: float
    rebalance_seconds: float
    member_id: str = NEW_MEMBER


class Joined(NamedTuple):
    """A new generation; only its leader learns of all members and their wishes."""

    generation: int
    protocol: str
    leader: str
    member_id: str
    members: list[tuple[str, bytes]]


@dataclass(slots=True)
class Member:
    """One consumer; ``expires`` is when its session ends unless it is heard of."""

    id: str
    application: Application
    expires: float
    share: bytes = b""
    joining: Reply[Joined] | None = None
    syncing: Reply[bytes] | None = None

    def wishes(self, protocol: str) -> bytes:
        """Answer what it wants in this protocol."""
        return dict(self.application.protocols)[protocol]


@dataclass
class Group:
    """One group. Call ``expire`` when the moment that ``deadline`` answers has come."""

    clock: Clock
    state: State = State.EMPTY
    generation: int = 0
    _members: dict[str, Member] = field(default_factory=dict)
    _leader: str | None = None
    _protocol: str = ""
    _round_ends: float = 0.0

    @property
    def members(self) -> list[str]:
        """The ids of the members."""
        return list(self._members)

    def join(self, application: Application, reply: Reply[Joined]) -> None:
        """Take a member into the round that is going on or that this begins.

        Raises:
            InvalidSessionTimeoutError, InconsistentGroupProtocolError: it does not fit in.
            UnknownMemberIdError: it says that it is a member, and is none.
        """
        self._check_application(application)
        member = self._admitted(application)
        if self._is_known(member, application):
            reply.set_result(self._joined(member))
            return
        member.application = application
        self._refuse(member)
        member.joining = reply
        self._begin_round()

    def sync(self, member_id: str, generation: int, shares: dict[str, bytes], reply: Reply[bytes]) -> None:
        """Take the leader's shares, and answer each member's when they are known.

        Raises:
            UnknownMemberIdError, IllegalGenerationError: it is not of this generation.
            RebalanceInProgressError: a new round has begun; join again.
        """
        member = self._current(member_id, generation)
        if self.state is State.JOINING:
            raise RebalanceInProgressError
        member.syncing = reply
        if self.state is State.SYNCING and member_id == self._leader:
            for one in self._members.values():
                one.share = shares.get(one.id, b"")
            self.state = State.STABLE
        if self.state is State.STABLE:
            self._give_shares()

    def heartbeat(self, member_id: str, generation: int) -> None:
        """Keep a member's session alive.

        Raises:
            UnknownMemberIdError, IllegalGenerationError: it is not of this generation.
            RebalanceInProgressError: a new round has begun; join again.
        """
        self._current(member_id, generation)
        if self.state is State.JOINING:
            raise RebalanceInProgressError

    def leave(self, member_id: str) -> None:
        """Let a member go.

        Raises:
            UnknownMemberIdError: it is none.
        """
        self._remove([self._member(member_id)])

    def check_commit(self, member_id: str, generation: int) -> None:
        """Check that these may commit offsets: a member of this generation, or anyone while nobody is in the group.

        Raises:
            UnknownMemberIdError, IllegalGenerationError: it is not of this generation.
            RebalanceInProgressError: who reads what is being decided.
        """
        if generation < 0 and self.state is State.EMPTY:
            return
        self._current(member_id, generation)
        if self.state is State.SYNCING:
            raise RebalanceInProgressError

    def deadline(self) -> float | None:
        """Answer the moment on the monotonic clock at which something expires, None when nothing does."""
        moments = [member.expires for member in self._silent()]
        if self.state in (State.JOINING, State.SYNCING):
            moments.append(self._round_ends)
        return min(moments, default=None)

    def expire(self) -> None:
        """Remove the members whose time is over: no heartbeat for a session, or no join or sync for a whole round."""
        now = self.clock.monotonic()
        late = [member for member in self._silent() if member.expires <= now]
        if self._round_ends <= now and self.state is State.JOINING:
            late = [member for member in self._members.values() if member.joining is None]
        elif self._round_ends <= now and self.state is State.SYNCING:
            late = [member for member in self._members.values() if member.syncing is None]
        if late:
            self._remove(late)

    def _check_application(self, application: Application) -> None:
        if application.session_seconds <= 0:
            raise InvalidSessionTimeoutError
        others = [member for member in self._members.values() if member.id != application.member_id]
        names = {name for name, _ in application.protocols}
        types = {application.protocol_type, *(member.application.protocol_type for member in others)}
        if len(types) > 1 or not names.intersection(*map(_names, others)):
            raise InconsistentGroupProtocolError

    def _admitted(self, application: Application) -> Member:
        if application.member_id != NEW_MEMBER:
            return self._member(application.member_id)
        member = Member(f"{application.client_id}-{uuid4()}", application, expires=0.0)
        self._members[member.id] = member
        return member

    def _is_known(self, member: Member, application: Application) -> bool:
        """Whether the member only asks again for what it was answered already."""
        if application.member_id == NEW_MEMBER or application.protocols != member.application.protocols:
            return False
        return self.state is State.SYNCING or (self.state is State.STABLE and member.id != self._leader)

    def _begin_round(self) -> None:
        if self.state is not State.JOINING:
            self.state = State.JOINING
            for member in self._members.values():
                if member.syncing is not None:
                    _refuse(member.syncing, RebalanceInProgressError())
                    member.syncing = None
            self._round_ends = self._in_one_round()
        self._end_round_if_all_joined()

    def _end_round_if_all_joined(self) -> None:
        if all(member.joining is not None for member in self._members.values()):
            self.generation += 1
            self.state = State.SYNCING if self._members else State.EMPTY
            if self._members:
                self._found_generation()

    def _found_generation(self) -> None:
        if self._leader not in self._members:
            self._leader = next(iter(self._members))
        self._protocol = self._elected_protocol()
        self._round_ends = self._in_one_round()
        for member in self._members.values():
            self._heard_of(member)
            reply, member.joining = member.joining, None
            if reply is not None and not reply.done():
                reply.set_result(self._joined(member))

    def _elected_protocol(self) -> str:
        members = list(self._members.values())
        shared = set.intersection(*map(_names, members))
        votes = Counter(next(name for name, _ in member.application.protocols if name in shared) for member in members)
        return votes.most_common(1)[0][0]

    def _joined(self, member: Member) -> Joined:
        leader = self._leader or member.id
        members = [(one.id, one.wishes(self._protocol)) for one in self._members.values()]
        return Joined(self.generation, self._protocol, leader, member.id, members if member.id == leader else [])

    def _give_shares(self) -> None:
        for member in self._members.values():
            reply, member.syncing = member.syncing, None
            if reply is not None and not reply.done():
                self._heard_of(member)
                reply.set_result(member.share)

    def _remove(self, members: list[Member]) -> None:
        for member in members:
            del self._members[member.id]
            self._refuse(member)
        if self.state is State.JOINING:
            self._end_round_if_all_joined()
        else:
            self._begin_round()

    def _refuse(self, member: Member) -> None:
        """Tell who still waits in this member's name that it is another's turn."""
        for reply in (member.joining, member.syncing):
            if reply is not None:
                _refuse(reply, UnknownMemberIdError())
        member.joining = member.syncing = None

    def _member(self, member_id: str) -> Member:
        if member_id not in self._members:
            raise UnknownMemberIdError
        return self._members[member_id]

    def _current(self, member_id: str, generation: int) -> Member:
        member = self._member(member_id)
        if generation != self.generation:
            raise IllegalGenerationError
        self._heard_of(member)
        return member

    def _heard_of(self, member: Member) -> None:
        member.expires = self.clock.monotonic() + member.application.session_seconds

    def _silent(self) -> Iterator[Member]:
        """Answer the members that are not waiting for an answer, and so have to send heartbeats."""
        return (member for member in self._members.values() if member.joining is None and member.syncing is None)

    def _in_one_round(self) -> float:
        longest = max((member.application.rebalance_seconds for member in self._members.values()), default=0.0)
        return self.clock.monotonic() + longest


def _names(member: Member) -> set[str]:
    return {name for name, _ in member.application.protocols}


def _refuse(reply: Reply[Any], error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)
