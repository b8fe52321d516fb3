"""The embedded broker's consumer groups: rounds, leaders, shares and time-outs, without a socket."""

import pytest
from aiokafka.errors import (
    InconsistentGroupProtocolError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from jabba.local.broker.groups import Group, State
from jabba.local.broker.members import Joined
from tests.support.clocks import HandClock
from tests.support.consumers import ROUND, SESSION, Consumer, stable


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
