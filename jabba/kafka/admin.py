"""What `jabba init` makes in Kafka, and what every process checks at its start."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from jabba.errors import NotReady, Unavailable
from jabba.kafka.acls import AclRule, Operation, Process, check_acls, lacking, rights_of
from jabba.kafka.cluster import Cluster
from jabba.kafka.committed_offsets import marked
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import MAX_MESSAGE_BYTES, Log
from jabba.messages.topics import EMPTY_MESSAGE, Topics

logger = logging.getLogger(__name__)

COMMAND = "python -m jabba init"
RETENTION_SECONDS = 7 * 24 * 3600
"""How long messages are kept, at least."""

RETENTION = "retention.ms"

REMEDY = "changed by other means than `jabba init`, by which jobs lose their place: docs/deploy.md has what to do"
"""What to do about topics whose number of partitions is not what it was."""

_CREATION_SECONDS = 15.0

_LOG_CONFIG = {
    "cleanup.policy": "delete",
    RETENTION: str(RETENTION_SECONDS * 1000),
    # Times come from the log, so that submitters with wrong clocks do no harm.
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "unclean.leader.election.enable": "false",
}
_CHANGELOG_CONFIG = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * 1024 * 1024),
    "segment.ms": str(10 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.1",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "unclean.leader.election.enable": "false",
}


def topic_configs(topics: Topics) -> dict[str, dict[str, str]]:
    """Return the configuration of every topic of an installation."""
    logs = (topics.tasks, topics.control, topics.events, topics.dead_letters)
    return dict.fromkeys(logs, _LOG_CONFIG) | {topics.changelog: _CHANGELOG_CONFIG}


async def create_topics(cluster: Cluster) -> None:
    """Create what is missing in Kafka and set what differs; doing it again changes nothing.

    Messages that are kept for longer than necessary stay so.

    Raises:
        NotReady: the topics exist with other numbers of partitions, or a worker group cannot be prepared.
        Unavailable: Kafka does not answer, or does not let us in.
    """
    try:
        await check_acls(cluster.access, rights_of("init", cluster.topics))
        await _create_missing(cluster)
        partitions = await _partitions(cluster)
        first = await _write_first_messages(cluster, partitions)
        await _commit_first_offsets(cluster, partitions, first)
    except (KafkaError, OSError) as error:
        raise await cluster.access.unavailable(error) from error


async def check_topics(cluster: Cluster, process: Process = "worker") -> int:
    """Return the number of partitions of an installation that is ready for workers.

    Raises:
        NotReady: topics or first offsets are missing; the message names the command to run.
        Unavailable: Kafka does not answer, or does not let us in.
        Refused: the rights of this process are not enough.
    """
    # First: topics that are there but not allowed look like missing ones.
    await check_acls(cluster.access, rights_of(process, cluster.topics))
    try:
        partitions = await _partitions(cluster)
        async with _group_member(cluster) as consumer:
            missing = [place async for place in _without_offset(consumer, cluster, partitions)]
    except (KafkaError, OSError) as error:
        raise await cluster.access.unavailable(error) from error
    _refuse_grown(missing, partitions)
    if missing:
        raise NotReady(f"{len(missing)} partitions have no committed offset, as {missing[0]}: run `{COMMAND}`")
    return partitions


async def partition_counts(access: KafkaAccess) -> dict[str, int]:
    """Return how many partitions each topic has that this client may see; raises what aiokafka does."""
    client = AIOKafkaAdminClient(**access.client_options())
    await client.start()
    try:
        # Asked for all topics and not for ours, Kafka creates none.
        return {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics()}
    finally:
        await client.close()


async def _create_missing(cluster: Cluster) -> None:
    configs = topic_configs(cluster.topics)
    known = await partition_counts(cluster.access)
    partitions = _partitions_to_have(cluster, {name: known[name] for name in configs if name in known})
    client = AIOKafkaAdminClient(**cluster.access.client_options())
    await client.start()
    try:
        for name, config in configs.items():
            if name in known:
                await _set_config(client, cluster, name, config)
            else:
                await _create_topic(client, cluster, NewTopic(name, partitions, cluster.replication, None, config))
    finally:
        await client.close()
    await _await_metadata(cluster)


def _partitions_to_have(cluster: Cluster, known: dict[str, int]) -> int:
    """Return how many partitions new topics get: as many as those have that are there already.

    Where a job is follows from that number: it can never be changed.
    """
    if not known:
        return cluster.partitions
    partitions = _same(known)
    if cluster.partitions_are_chosen and cluster.partitions != partitions:
        raise NotReady(
            f"JABBA_PARTITIONS is {cluster.partitions}, but the topics have {partitions} partitions, and that cannot "
            f"be changed: where a job is follows from it. Set it to {partitions}, or choose another JABBA_PREFIX"
        )
    return partitions


def _same(counts: dict[str, int]) -> int:
    if len(set(counts.values())) != 1:
        raise NotReady(f"the topics must have the same number of partitions: {counts}; {REMEDY}")
    return next(iter(counts.values()))


async def _create_topic(client: AIOKafkaAdminClient, cluster: Cluster, topic: NewTopic) -> None:
    response = await client.create_topics([topic])
    for name, code, *rest in response.topic_errors:
        error = for_code(code)
        if error is TopicAuthorizationFailedError:
            raise lacking(cluster.access, [AclRule(Operation.CREATE, "topic", name)])
        if code and error is not TopicAlreadyExistsError:
            raise NotReady(f"topic {name} cannot be created: {rest[0] if rest and rest[0] else error.__name__}")
    logger.info("created topic", extra={"topic": topic.name, "partitions": topic.num_partitions})


async def _set_config(client: AIOKafkaAdminClient, cluster: Cluster, name: str, config: dict[str, str]) -> None:
    """Set a topic's configuration if any of our values differs; values that are not ours are kept."""
    described = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    _check_allowed(cluster, name, described)
    entries = described[0].resources[0][4]
    current = {entry[0]: entry[1] for entry in entries}
    if _is_longer(current.get(RETENTION), config.get(RETENTION)):
        longer = {"topic": name, "retention_ms": current[RETENTION]}
        logger.info("topic keeps messages for longer than necessary, leaving it so", extra=longer)
        config = {key: value for key, value in config.items() if key != RETENTION}
    if all(current.get(key) == value for key, value in config.items()):
        return
    overridden = {entry[0]: entry[1] for entry in entries if entry[3] == _TOPIC_OVERRIDE}
    altered = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, overridden | config)])
    _check_allowed(cluster, name, altered)
    logger.info("set the configuration of a topic", extra={"topic": name})


def _is_longer(current: str | None, wanted: str | None) -> bool:
    """Compare times in milliseconds; a negative one is for ever."""
    return current is not None and wanted is not None and (int(current) < 0 or int(current) > int(wanted))


def _check_allowed(cluster: Cluster, name: str, answers: Iterable[Any]) -> None:
    """Look at an answer about a topic's configuration, whose faults aiokafka passes on without a word."""
    for code, message, *_ in (resource for answer in answers for resource in answer.resources):
        error = for_code(code)
        if error is TopicAuthorizationFailedError:
            raise lacking(cluster.access, [AclRule(Operation.ALTER_CONFIGS, "topic", name)])
        if code:
            raise NotReady(f"topic {name} cannot be configured: {message or error.__name__}")


_TOPIC_OVERRIDE = 1
"""How Kafka marks a value that was set for the topic itself."""


async def _await_metadata(cluster: Cluster) -> None:
    """Wait until every broker knows the new topics."""
    try:
        async with asyncio.timeout(_CREATION_SECONDS):
            while True:
                try:
                    await _partitions(cluster)
                except NotReady as error:
                    if "partitions" in str(error):
                        raise
                    await asyncio.sleep(0.1)
                else:
                    return
    except TimeoutError as error:
        raise Unavailable("Kafka does not show the topics it has created") from error


async def _partitions(cluster: Cluster) -> int:
    """Return how many partitions the topics have, which is the same number for all."""
    known = await partition_counts(cluster.access)
    ours = {name: known.get(name, 0) for name in topic_configs(cluster.topics)}
    missing = [name for name, count in ours.items() if not count]
    if missing:
        raise NotReady(f"missing topics {', '.join(missing)}: run `{COMMAND}`")
    return _same(ours)


def _consumed(cluster: Cluster, partitions: int) -> Iterable[TopicPartition]:
    for topic in (cluster.topics.tasks, cluster.topics.control):
        yield from (TopicPartition(topic, partition) for partition in range(partitions))


@asynccontextmanager
async def _group_member(cluster: Cluster) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer that reads and writes the worker group's offsets without joining it."""
    consumer = AIOKafkaConsumer(
        **cluster.access.client_options(),
        group_id=cluster.topics.worker_group,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _write_first_messages(cluster: Cluster, partitions: int) -> set[TopicPartition]:
    """Let no partition be empty; return those of which an empty message is the first."""
    async with _group_member(cluster) as consumer, Log(cluster.access) as log:
        ends = await consumer.end_offsets(list(_consumed(cluster, partitions)))
        empty = [place for place, end in ends.items() if end == 0]
        return {place for place in empty if await log.append(place.topic, place.partition, EMPTY_MESSAGE) == 0}


async def _commit_first_offsets(cluster: Cluster, partitions: int, first: Collection[TopicPartition]) -> None:
    async with _group_member(cluster) as consumer:
        consumer.assign(list(_consumed(cluster, partitions)))
        beginnings = await consumer.beginning_offsets(list(_consumed(cluster, partitions)))
        missing = [place async for place in _without_offset(consumer, cluster, partitions)]
        _refuse_grown(missing, partitions)
        if missing:
            # Offsets expire when all workers rest for a week: whatever the log still holds is read again then.
            times = await consumer.offsets_for_times(dict.fromkeys(missing, 0))
            behind = {place: marked(1, times[place].timestamp) for place in first if times.get(place)}
            await consumer.commit({place: behind.get(place) or marked(beginnings[place], 0) for place in missing})


async def _without_offset(
    consumer: AIOKafkaConsumer, cluster: Cluster, partitions: int
) -> AsyncIterator[TopicPartition]:
    for place in _consumed(cluster, partitions):
        if await consumer.committed(place) is None:
            yield place


def _refuse_grown(missing: Iterable[TopicPartition], partitions: int) -> None:
    """Refuse topics that have partitions which they had not at first.

    The offsets of a topic are committed at once, and expire together: those that lack theirs came later.
    """
    without: dict[str, list[int]] = {}
    for place in missing:
        without.setdefault(place.topic, []).append(place.partition)
    for topic, numbers in without.items():
        if len(numbers) < partitions:
            raise NotReady(f"{topic} has {partitions} partitions, and had {partitions - len(numbers)}; {REMEDY}")
