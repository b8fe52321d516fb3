"""The embedded broker's consumer groups: who is refused, who may commit, and what outlives the broker."""

from pathlib import Path

import pytest
from aiokafka.errors import (
    IllegalGenerationError,
    InvalidSessionTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from jabba.local.broker.groups import Group, State
from jabba.local.broker.members import NO_GENERATION
from jabba.local.broker.memberships import Memberships
from tests.support.clocks import HandClock
from tests.support.consumers import SESSION, Consumer, stable


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
