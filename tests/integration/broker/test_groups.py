"""Consumer groups: who reads what, who takes over, and whose commits count."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import CommitFailedError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest

from tests.integration.broker.conftest import MakeTopic
from tests.integration.broker.members import member, member_process
from tests.support.processes import eventually

NOBODY = ("", -1)


def shares(*members: AIOKafkaConsumer) -> list[list[int]]:
    return [sorted(place.partition for place in one.assignment()) for one in members]


async def until_shared(*members: AIOKafkaConsumer, partitions: int) -> None:
    """Wait until these members read all partitions, each of them its own."""

    async def settled() -> bool:
        found = shares(*members)
        return all(found) and sorted(chain.from_iterable(found)) == list(range(partitions))

    await eventually(settled, what=f"{partitions} partitions shared by {len(members)}")


@asynccontextmanager
async def coordinator(bootstrap: str) -> AsyncIterator[Callable[[Any], Any]]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        yield lambda request: client.send(1, request)
    finally:
        await client.close()


async def fill(bootstrap: str, topic: str, partitions: int, each: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for partition in range(partitions):
            for number in range(each):
                await producer.send_and_wait(topic, b"%d" % number, partition=partition)


async def test_members_come_and_go_and_share_what_there_is(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(6)
    async with member(bootstrap, topic) as first:
        await until_shared(first, partitions=6)
        async with member(bootstrap, topic) as second, member(bootstrap, topic) as third:
            await until_shared(first, second, third, partitions=6)
            assert [len(share) for share in shares(first, second, third)] == [2, 2, 2]
        await until_shared(first, partitions=6)


async def test_the_others_go_on_when_the_leader_leaves(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(4)
    leader = member(bootstrap, topic)
    await leader.start()
    async with member(bootstrap, topic) as second, member(bootstrap, topic) as third:
        await until_shared(leader, second, third, partitions=4)
        await leader.stop()
        await until_shared(second, third, partitions=4)


async def test_the_others_take_over_from_a_member_that_was_killed(
    bootstrap: str, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = await make_topic(4)
    with member_process(bootstrap, topic, tmp_path / "log") as victim:
        victim.start()
        victim.wait_for_line("reads 4")
        async with member(bootstrap, topic) as survivor:
            assert len(shares(survivor)[0]) == 2
            victim.kill()
            await until_shared(survivor, partitions=4)


async def test_a_group_goes_on_where_it_committed(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    place = TopicPartition(topic, 0)
    await fill(bootstrap, topic, 1, 3)

    async with member(bootstrap, topic, max_poll_records=1) as first:
        assert (await first.getone()).value == b"0"
        await first.commit({place: (1, "so far")})
        assert await first.committed(place) == 1
    async with member(bootstrap, topic, max_poll_records=1) as successor:
        assert (await successor.getone()).value == b"1"


async def test_every_message_is_read_once_while_members_come_and_go(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(4)
    await fill(bootstrap, topic, 4, 50)
    read: list[tuple[int, int]] = []
    enough = asyncio.Event()

    async def work(consumer: AIOKafkaConsumer, until: Callable[[], bool]) -> None:
        async with consumer:
            while not until() and not enough.is_set():
                for place, messages in (await consumer.getmany(timeout_ms=200, max_records=5)).items():
                    try:
                        await consumer.commit({place: messages[-1].offset + 1})
                    except CommitFailedError:
                        break
                    read.extend((place.partition, message.offset) for message in messages)
                    if len(read) >= 200:
                        enough.set()

    async with asyncio.timeout(60):
        await asyncio.gather(
            work(member(bootstrap, topic), lambda: len(read) >= 60),
            work(member(bootstrap, topic), lambda: len(read) >= 120),
            work(member(bootstrap, topic), lambda: False),
        )

    assert sorted(read) == [(partition, offset) for partition in range(4) for offset in range(50)]


async def test_only_members_of_the_generation_commit(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    group, place = f"group-{topic}", TopicPartition(topic, 0)
    async with coordinator(bootstrap) as ask:

        async def commit(member_id: str, generation: int, offset: int = 7) -> int:
            request = OffsetCommitRequest(group, generation, member_id, -1, [(topic, [(0, offset, "")])])
            return int((await ask(request)).topics[0][1][0][1])

        assert await commit(*NOBODY, 1) == 0
        async with member(bootstrap, topic) as consumer:
            joined = (consumer._coordinator.member_id, consumer._coordinator.generation)
            assert await commit(*joined, 2) == 0
            assert await commit(*NOBODY) == 25
            assert await commit("stranger", joined[1]) == 25
            assert await commit(joined[0], joined[1] - 1) == 22
            assert await commit(joined[0], joined[1] + 1) == 22
            assert (await ask(HeartbeatRequest(group, joined[1] - 1, joined[0]))).error_code == 22
            assert (await ask(HeartbeatRequest(group, joined[1], "stranger"))).error_code == 25
            assert (await ask(HeartbeatRequest(group, joined[1], joined[0]))).error_code == 0
            assert await consumer.committed(place) == 2
        assert await commit(*joined) == 25
        assert await commit(*NOBODY, 3) == 0
        assert (await ask(LeaveGroupRequest(group, "stranger"))).error_code == 25

    async with member(bootstrap, topic) as successor:
        assert await successor.committed(place) == 3


async def test_offsets_are_committed_without_joining(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(2)
    places = [TopicPartition(topic, partition) for partition in range(2)]
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id="simple", enable_auto_commit=False) as consumer:
        consumer.assign(places)
        assert await consumer.committed(places[0]) is None
        await consumer.commit({places[0]: 5})
        assert [await consumer.committed(place) for place in places] == [5, None]


async def test_partitions_that_are_not_there_are_not_committed(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    request = OffsetCommitRequest(
        f"group-{topic}", -1, "", -1, [(topic, [(0, 1, ""), (9, 1, "")]), ("no", [(0, 1, "")])]
    )
    async with coordinator(bootstrap) as ask:
        answer = await ask(request)

    assert {(name, *one) for name, partitions in answer.topics for one in partitions} == {
        (topic, 0, 0),
        (topic, 9, 3),
        ("no", 0, 3),
    }
