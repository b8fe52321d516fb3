"""Which offsets a projector commits, whatever the group takes from it meanwhile."""

from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from jabba.projection.projector import Following, Projector
from jabba.settings import Settings

PLACE = TopicPartition("jabba-tasks", 0)


class Consumer:
    """Commits as aiokafka does: nothing is an error."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, int]] = []

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if not offsets:
            raise ValueError(offsets)
        self.committed.append(offsets)


@pytest.fixture
def projector() -> Projector:
    return Projector(Settings())


def follow(projector: Projector) -> Following:
    following = projector._following
    following.on_partitions_assigned([PLACE])
    following.next = {PLACE: 1}
    following.advance({(PLACE.topic, PLACE.partition): 5})
    return following


async def test_what_was_written_is_committed_once(projector: Projector) -> None:
    consumer: Any = Consumer()
    follow(projector)
    await projector._commit(consumer)
    await projector._commit(consumer)
    assert consumer.committed == [{PLACE: 5}]


@pytest.mark.parametrize("change", ["on_partitions_revoked", "on_partitions_assigned"])
async def test_nothing_is_committed_when_the_group_takes_all_partitions_away(projector: Projector, change: str) -> None:
    consumer: Any = Consumer()
    getattr(follow(projector), change)([PLACE])
    await projector._commit(consumer)
    assert consumer.committed == []


class Member:
    """Has been assigned a partition of which nothing is projected."""

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    end_offsets = beginning_offsets

    def seek(self, *_: object) -> None:
        pass


async def test_it_is_ready_while_it_follows_what_the_group_has_assigned(
    projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_asking = []

    async def projected(_: Projector) -> dict[tuple[str, int], int]:
        while_asking.append(projector._unready())
        return {}

    monkeypatch.setattr(Projector, "_projected", projected)
    following, member = projector._following, Member()
    for _ in range(2):
        assert projector._unready() == "it waits for its partitions"
        following.on_partitions_assigned([PLACE])
        await projector._take_over(cast("Any", member))
        assert projector._unready() == ""
        following.on_partitions_revoked([PLACE])
    assert while_asking == ["it waits for PostgreSQL, to know where its partitions go on"] * 2
    # What it takes over between two assignments is no longer its own.
    await projector._take_over(cast("Any", member))
    assert projector._unready() == "it waits for its partitions"
    await projector.stop()
    assert projector._unready() == "it ends"
