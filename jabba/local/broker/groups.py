"""A consumer group: who is in it, and who reads what — rules only, without a socket, with the time handed in.

This is Kafka's classic protocol. Members join, the broker ends the round when all have (or after their rebalance
timeout) and names a leader; the leader says in its sync who reads what, and each sync is answered with its share.
Every round has a number, its generation. Whoever comes with an older one, or is not in the group, is refused.
"""

import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

from aiokafka.errors import (
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from jabba.clock import Clock
from jabba.local.broker.members import NEW_MEMBER, Application, Joined, Member, Reply


class State(enum.Enum):
    """What a group is doing."""

    EMPTY = "nobody is in it"
    JOINING = "a round has begun: members join"
    SYNCING = "all have joined: the leader is to say who reads what"
    STABLE = "every member knows what it reads"


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

    @classmethod
    def from_json(cls, clock: Clock, document: dict[str, Any]) -> Self:
        """Make a group of what ``as_json`` answered; every session begins anew."""
        group = cls(clock, State.STABLE if document["members"] else State.EMPTY, document["generation"])
        group._leader, group._protocol = document["leader"], document["protocol"]
        members = (Member.from_json(one, expires=0.0) for one in document["members"])
        group._members = {member.id: member for member in members}
        for member in group._members.values():
            group._heard_of(member)
        return group

    def as_json(self) -> dict[str, Any]:
        """Return a settled group, for a file."""
        members = [member.as_json() for member in self._members.values()]
        return {"generation": self.generation, "leader": self._leader, "protocol": self._protocol, "members": members}

    @property
    def is_settled(self) -> bool:
        """Whether every member knows what it reads; that holds until the next generation."""
        return self.state in (State.EMPTY, State.STABLE)

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
        member.refuse(UnknownMemberIdError())  # whoever still waits in its name has lost its connection
        member.application = application
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
            for one in self._members.values():
                one.tell_share()

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
        """Return the moment on the monotonic clock at which something expires, None when nothing does."""
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
        if len(types) > 1 or not names.intersection(*(member.protocols for member in others)):
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
            self._round_ends = self._in_one_round()
            for member in self._members.values():
                if member.syncing is not None:
                    member.refuse(RebalanceInProgressError())
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
            member.tell_joined(self._joined(member))

    def _elected_protocol(self) -> str:
        """Return the protocol that most members like best of those that all have."""
        members = self._members.values()
        shared = set.intersection(*(set(member.protocols) for member in members))
        votes = Counter(next(name for name in member.protocols if name in shared) for member in members)
        return votes.most_common(1)[0][0]

    def _joined(self, member: Member) -> Joined:
        leader = self._leader or member.id
        members = [(one.id, one.wishes(self._protocol)) for one in self._members.values()]
        return Joined(self.generation, self._protocol, leader, member.id, members if member.id == leader else [])

    def _remove(self, members: list[Member]) -> None:
        for member in members:
            del self._members[member.id]
            member.refuse(UnknownMemberIdError())
        if self.state is State.JOINING:
            self._end_round_if_all_joined()
        else:
            self._begin_round()

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
        return (member for member in self._members.values() if member.is_silent)

    def _in_one_round(self) -> float:
        longest = max((member.application.rebalance_seconds for member in self._members.values()), default=0.0)
        return self.clock.monotonic() + longest
