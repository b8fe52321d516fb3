"""The embedded broker's consumer groups: rounds, leaders, shares, time-outs and fencing, without a socket."""

from concurrent.futures import Future
from pathlib import Path

import pytest
from aiokafka.errors import (
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from jabba.embedded.broker.groups import Group, State
from jabba.embedded.broker.members import NO_GENERATION, Application, Joined
from jabba.embedded.broker.memberships import Memberships
from tests.support.clocks import HandClock

SESSION = 10.0
ROUND = 30.0


class Consumer:
    """A member that says what a test tells it to."""

    def __init__(self, group: Group, name: str, *, protocols: tuple[str, ...] = ("range",)) -> None:
        self.group = group
        self.name = name
        self.id = ""
        self.protocols = [(protocol, name.encode()) for protocol in protocols]
        self.answer: Future[Joined] = Future()
        self.share: Future[bytes] = Future()

    @property
    def joined(self) -> Joined:
        return self.answer.result(0)

    def join(self, *, kind: str = "consumer", session: float = SESSION) -> "Consumer":
        self.answer, self.share = Future(), Future()
        self.group.join(Application(self.name, kind, self.protocols, session, ROUND, self.id), self.answer)
        return self

    def learn(self) -> "Consumer":
        """Take the id that the broker gave it."""
        self.id = self.joined.member_id
        return self

    def sync(self, shares: dict[str, bytes] | None = None, *, generation: int | None = None) -> "Consumer":
        at = self.joined.generation if generation is None else generation
        self.group.sync(self.id, at, shares or {}, self.share)
        return self

    def heartbeat(self) -> None:
        self.group.heartbeat(self.id, self.joined.generation)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def group(clock: HandClock) -> Group:
    return Group(clock)


def stable(group: Group, *names: str) -> list[Consumer]:
    """Bring members into a group until each has its share, which is its name."""
    consumers: list[Consumer] = []
    for name in names:
        newcomer = Consumer(group, name).join()
        for one in consumers:
            one.join()
        consumers.append(newcomer)
        for one in consumers:
            one.learn()
    for one in consumers:
        one.sync({other.id: other.name.encode() for other in consumers})
    assert [one.share.result(0) for one in consumers] == [name.encode() for name in names]
    return consumers


def test_a_lone_member_leads_at_once(group: Group) -> None:
    alone = Consumer(group, "a").join().learn()

    assert alone.joined == Joined(1, "range", alone.id, alone.id, [(alone.id, b"a")])
    assert alone.sync({alone.id: b"all"}).share.result(0) == b"all"
    assert group.state is State.STABLE


def test_a_newcomer_waits_until_all_members_have_joined_again(group: Group) -> None:
    (first,) = stable(group, "a")
    second = Consumer(group, "b").join()

    assert not second.answer.done()
    with pytest.raises(RebalanceInProgressError):
        first.heartbeat()
    first.join()

    assert (first.joined.generation, second.joined.generation) == (2, 2)
    assert first.joined.leader == second.joined.leader == first.id
    assert dict(first.joined.members) == {first.id: b"a", second.joined.member_id: b"b"}
    assert second.joined.members == []


def test_followers_get_their_shares_when_the_leader_has_spoken(group: Group) -> None:
    (first,) = stable(group, "a")
    second = Consumer(group, "b").join()
    first.join()

    second.learn().sync()
    assert not second.share.done()
    first.sync({first.id: b"half", second.id: b"other half"})

    assert (first.share.result(0), second.share.result(0)) == (b"half", b"other half")


def test_who_gets_nothing_from_the_leader_is_told_so(group: Group) -> None:
    (first,) = stable(group, "a")
    second = Consumer(group, "b").join()
    first.join().sync({first.id: b"all"})

    assert second.learn().sync().share.result(0) == b""


def test_three_members_share_and_the_rest_goes_on_when_one_leaves(group: Group) -> None:
    first, second, third = stable(group, "a", "b", "c")

    group.leave(second.id)
    first.join()
    third.join()

    assert group.members == [first.id, third.id]
    assert first.joined.generation == 4
    with pytest.raises(UnknownMemberIdError):
        second.heartbeat()


def test_the_next_in_line_leads_when_the_leader_has_left(group: Group) -> None:
    first, second, third = stable(group, "a", "b", "c")

    group.leave(first.id)
    third.join()
    second.join()

    assert second.joined.leader == third.joined.leader == second.id
    assert {name for name, _ in second.joined.members} == {second.id, third.id}


def test_a_group_that_all_have_left_is_empty_and_goes_on_counting(group: Group) -> None:
    (only,) = stable(group, "a")

    group.leave(only.id)

    assert (group.state, group.generation, group.deadline()) == (State.EMPTY, 2, None)
    assert Consumer(group, "b").join().joined.generation == 3


def test_a_member_without_heartbeat_is_removed_after_its_session(group: Group, clock: HandClock) -> None:
    first, second = stable(group, "a", "b")
    clock.seconds += SESSION - 1
    first.heartbeat()
    assert group.deadline() == clock.seconds + 1

    clock.seconds += 1
    group.expire()

    assert group.members == [first.id]
    assert group.state is State.JOINING
    with pytest.raises(UnknownMemberIdError):
        second.heartbeat()
    assert first.join().joined.generation == 3


def test_who_does_not_join_again_in_a_round_is_removed(group: Group, clock: HandClock) -> None:
    first, second = stable(group, "a", "b")
    third = Consumer(group, "c").join()
    first.join()
    for _ in range(int(ROUND / SESSION)):
        with pytest.raises(RebalanceInProgressError):
            second.heartbeat()
        clock.seconds += SESSION - 0.001
        group.expire()
    assert not first.answer.done()

    clock.seconds += 1
    group.expire()

    assert group.members == [first.id, third.joined.member_id]
    assert third.joined.generation == 3


def test_who_waits_for_the_others_does_not_expire(group: Group, clock: HandClock) -> None:
    first, second = stable(group, "a", "b")
    third = Consumer(group, "c").join()
    clock.seconds += SESSION - 1
    for one in (first, second):
        with pytest.raises(RebalanceInProgressError):
            one.heartbeat()
    first.join()
    clock.seconds += SESSION + 1

    group.expire()

    assert group.members == [first.id, third.joined.member_id]


def test_a_leader_that_never_speaks_is_removed_and_the_others_join_again(group: Group, clock: HandClock) -> None:
    first, second = stable(group, "a", "b")
    third = Consumer(group, "c").join()
    first.join()
    second.join().sync()
    third.learn().sync()
    for _ in range(4):
        first.heartbeat()
        clock.seconds += SESSION - 2
    group.expire()

    assert group.members == [second.id, third.id]
    for one in (second, third):
        assert isinstance(one.share.exception(0), RebalanceInProgressError)
    second.join()
    assert third.join().joined.leader == second.id


def test_a_round_that_begins_while_shares_are_awaited_interrupts_that(group: Group) -> None:
    first, second = stable(group, "a", "b")
    Consumer(group, "c").join()
    first.join()
    second.join().sync()

    Consumer(group, "d").join()

    assert isinstance(second.share.exception(0), RebalanceInProgressError)
    with pytest.raises(RebalanceInProgressError):
        first.sync({first.id: b"all"})


def test_a_join_that_is_repeated_is_answered_again(group: Group) -> None:
    first, second = stable(group, "a", "b")

    assert second.join().joined.generation == 2
    assert group.state is State.STABLE
    assert second.sync().share.result(0) == b"b"
    assert first.id not in dict(second.joined.members)


def test_a_leader_that_joins_again_begins_a_round(group: Group) -> None:
    first, second = stable(group, "a", "b")

    first.join()

    assert group.state is State.JOINING
    second.join()
    assert first.joined.generation == 3


def test_a_follower_with_new_wishes_begins_a_round(group: Group) -> None:
    first, second = stable(group, "a", "b")
    second.protocols = [("range", b"more")]

    second.join()

    assert group.state is State.JOINING
    assert dict(first.join().joined.members)[second.id] == b"more"


def test_the_newer_of_two_waiting_joins_of_a_member_is_answered(group: Group) -> None:
    first, second = stable(group, "a", "b")
    Consumer(group, "c").join()
    first.join()
    lost = first.answer
    first.join()

    second.join()

    assert isinstance(lost.exception(0), UnknownMemberIdError)
    assert first.joined.generation == 3


def test_a_client_that_is_gone_does_not_hinder_the_others(group: Group) -> None:
    (first,) = stable(group, "a")
    gone = Consumer(group, "b").join()
    gone.answer.cancel()

    assert first.join().joined.generation == 2


def test_the_protocol_is_the_best_that_all_have(group: Group) -> None:
    first = Consumer(group, "a", protocols=("sticky", "range", "roundrobin")).join().learn()
    assert first.joined.protocol == "sticky"
    second = Consumer(group, "b", protocols=("roundrobin", "range")).join()
    Consumer(group, "c", protocols=("roundrobin", "range")).join()
    first.join()

    assert second.joined.protocol == "roundrobin"


def test_who_has_no_protocol_in_common_is_refused(group: Group) -> None:
    stable(group, "a")

    with pytest.raises(InconsistentGroupProtocolError):
        Consumer(group, "b", protocols=("sticky",)).join()
    with pytest.raises(InconsistentGroupProtocolError):
        Consumer(group, "c").join(kind="connect")
    with pytest.raises(InconsistentGroupProtocolError):
        Consumer(Group(group.clock), "d", protocols=()).join()
    assert len(group.members) == 1


def test_a_session_without_length_is_refused(group: Group) -> None:
    with pytest.raises(InvalidSessionTimeoutError):
        Consumer(group, "a").join(session=0)


def test_strangers_are_refused(group: Group) -> None:
    stranger = Consumer(group, "x")
    stranger.id = "x-1"

    with pytest.raises(UnknownMemberIdError):
        stranger.join()
    with pytest.raises(UnknownMemberIdError):
        stranger.sync(generation=1)
    with pytest.raises(UnknownMemberIdError):
        group.heartbeat("x-1", 1)
    with pytest.raises(UnknownMemberIdError):
        group.leave("x-1")


def test_an_older_generation_is_refused(group: Group) -> None:
    first, second = stable(group, "a", "b")

    for what in (group.heartbeat, group.check_commit):
        with pytest.raises(IllegalGenerationError):
            what(first.id, 1)
    with pytest.raises(IllegalGenerationError):
        second.sync(generation=1)


def test_offsets_are_committed_by_members_of_the_generation_only(group: Group) -> None:
    first, second = stable(group, "a", "b")
    group.check_commit(first.id, 2)

    for stranger, generation in (("", NO_GENERATION), ("x-1", 2)):
        with pytest.raises(UnknownMemberIdError):
            group.check_commit(stranger, generation)
    Consumer(group, "c").join()
    group.check_commit(first.id, 2)
    first.join()
    second.join()
    with pytest.raises(IllegalGenerationError):
        group.check_commit(first.id, 2)
    with pytest.raises(RebalanceInProgressError):
        group.check_commit(first.id, 3)


def test_anyone_may_commit_while_nobody_is_in_the_group(group: Group) -> None:
    group.check_commit("", NO_GENERATION)

    with pytest.raises(UnknownMemberIdError):
        group.check_commit("gone-1", 4)


def test_a_commit_keeps_a_session_alive(group: Group, clock: HandClock) -> None:
    (only,) = stable(group, "a")
    clock.seconds += SESSION - 1

    group.check_commit(only.id, 1)

    assert group.deadline() == clock.seconds + SESSION


def test_members_go_on_when_the_broker_has_been_away(tmp_path: Path, clock: HandClock) -> None:
    before = Memberships(tmp_path, clock)
    first, second = stable(before.group("g"), "a", "b")
    before.keep("g")
    clock.seconds += 1000

    group = Memberships(tmp_path, clock).group("g")

    assert (group.members, group.generation, group.state) == ([first.id, second.id], 2, State.STABLE)
    assert group.deadline() == clock.seconds + SESSION
    first.group = second.group = group
    first.heartbeat()
    group.check_commit(second.id, 2)
    assert second.join().joined.leader == first.id
    assert second.sync().share.result(0) == b"b"
    with pytest.raises(IllegalGenerationError):
        group.heartbeat(first.id, 1)


def test_only_what_is_settled_is_remembered(tmp_path: Path, clock: HandClock) -> None:
    before = Memberships(tmp_path, clock)
    first, _ = stable(before.group("g"), "a", "b")
    before.keep("g")
    Consumer(before.group("g"), "c").join()
    first.join()
    before.keep("g")

    assert len(Memberships(tmp_path, clock).group("g").members) == 2


def test_a_group_that_all_have_left_goes_on_counting_when_the_broker_has_been_away(
    tmp_path: Path, clock: HandClock
) -> None:
    before = Memberships(tmp_path, clock)
    (only,) = stable(before.group("g"), "a")
    before.keep("g")
    before.group("g").leave(only.id)
    before.keep("g")

    after = Memberships(tmp_path, clock)

    assert after.names == ["g"]
    assert (after.group("g").state, after.group("g").generation) == (State.EMPTY, 2)
