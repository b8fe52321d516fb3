"""The offsets of a group whose coordinator has just started."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.protocol.commit import OffsetFetchResponse_v3

import jabba.kafka.security  # noqa: F401 — whoever reaches Kafka has imported it

PLACE = TopicPartition("tasks", 0)
LOADING, NOT_COORDINATOR, NOT_AVAILABLE, NOT_ALLOWED = 14, 16, 15, 30
KNOWN = OffsetFetchResponse_v3(0, [("tasks", [(0, 7, "", 0)])], 0)


def coordinator(*answers: Any) -> tuple[GroupCoordinator, list[Any]]:
    """Make one that gets these answers, and knows its node again whenever it has lost it."""
    left = list(answers)

    async def send(*_: Any, **__: Any) -> Any:
        return left.pop(0)

    made = cast("Any", object.__new__(GroupCoordinator))
    made.__dict__.update(group_id="g", coordinator_id=1, _retry_backoff_ms=1, _client=SimpleNamespace(send=send))

    async def know() -> None:
        if made.coordinator_id is None:
            made.coordinator_id = 1
        made._coordinator_dead_fut = asyncio.get_running_loop().create_future()

    made.ensure_coordinator_known = know
    return made, left


@pytest.mark.parametrize("code", [LOADING, NOT_COORDINATOR, NOT_AVAILABLE])
async def test_they_are_asked_for_again_until_they_are_known(code: int) -> None:
    asked, left = coordinator(OffsetFetchResponse_v3(0, [], code), OffsetFetchResponse_v3(0, [], code), KNOWN)
    offsets = await asked.fetch_committed_offsets([PLACE])
    assert offsets[PLACE].offset == 7
    assert left == []


async def test_a_refusal_is_told() -> None:
    asked, _ = coordinator(OffsetFetchResponse_v3(0, [], NOT_ALLOWED), KNOWN)
    with pytest.raises(GroupAuthorizationFailedError):
        await asked.fetch_committed_offsets([PLACE])
