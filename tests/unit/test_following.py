"""Which offsets a projector commits, whatever the group takes from it meanwhile."""

from typing import Any

import pytest
from aiokafka import TopicPartition

from jabba.persistence.projector import Following, Projector
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
