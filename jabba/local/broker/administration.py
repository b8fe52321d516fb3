"""Answers to requests about the broker and its topics."""

from collections.abc import Iterable
from typing import Any

from aiokafka.errors import BrokerResponseError, InvalidRequestError, NoError
from aiokafka.protocol.admin import AlterConfigsResponse_v1, CreateTopicsResponse_v3, DescribeConfigsResponse_v2
from aiokafka.protocol.coordination import FindCoordinatorResponse_v1
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.protocol.transaction import InitProducerIdResponse_v0

from jabba.local.broker.configs import DEFAULTS
from jabba.local.broker.messages import UNTHROTTLED
from jabba.local.broker.producer_ids import ProducerIds
from jabba.local.broker.topics import Topics

CLUSTER_ID = "jabba-embedded"

_NODE = 1
_GROUP_COORDINATOR = 0
_TOPIC_RESOURCE = 2
_SET_FOR_THE_TOPIC = 1
_DEFAULT = 5
_NO_PRODUCER = (-1, -1)
_FIRST_EPOCH = 0


class Administration:
    """The endpoints for whoever wants to know where things are, and for administrators."""

    def __init__(self, topics: Topics, producer_ids: ProducerIds, host: str, port: int) -> None:
        self._topics = topics
        self._producer_ids = producer_ids
        self._host = host
        self._port = port

    async def metadata(self, request: Any, _client_id: str) -> MetadataResponse_v5:
        """Tell about topics, some or all; asking never creates one."""
        names = self._topics.names if request.topics is None else request.topics
        brokers = [(_NODE, self._host, self._port, None)]
        topics = [self._topic_metadata(name) for name in names]
        return MetadataResponse_v5(UNTHROTTLED, brokers, CLUSTER_ID, _NODE, topics)

    async def find_coordinator(self, request: Any, _client_id: str) -> FindCoordinatorResponse_v1:
        """Name this broker, the coordinator of every group; there are no transactions to coordinate."""
        if request.coordinator_type != _GROUP_COORDINATOR:
            message = "the embedded broker has no transactions"
            return FindCoordinatorResponse_v1(UNTHROTTLED, InvalidRequestError.errno, message, -1, "", -1)
        return FindCoordinatorResponse_v1(UNTHROTTLED, NoError.errno, None, _NODE, self._host, self._port)

    async def init_producer_id(self, request: Any, _client_id: str) -> InitProducerIdResponse_v0:
        """Give an idempotent producer an id that none had before."""
        if request.transactional_id is not None:
            return InitProducerIdResponse_v0(UNTHROTTLED, InvalidRequestError.errno, *_NO_PRODUCER)
        return InitProducerIdResponse_v0(UNTHROTTLED, NoError.errno, self._producer_ids.take(), _FIRST_EPOCH)

    async def create_topics(self, request: Any, _client_id: str) -> CreateTopicsResponse_v3:
        """Create topics, or only check whether they could be."""
        results = [self._create(topic, only_check=request.validate_only) for topic in request.create_topic_requests]
        return CreateTopicsResponse_v3(UNTHROTTLED, results)

    async def describe_configs(self, request: Any, _client_id: str) -> DescribeConfigsResponse_v2:
        """Tell the configuration of topics."""
        return DescribeConfigsResponse_v2(UNTHROTTLED, [self._described(*resource) for resource in request.resources])

    async def alter_configs(self, request: Any, _client_id: str) -> AlterConfigsResponse_v1:
        """Set the configuration of topics."""
        results = [self._altered(*resource, only_check=request.validate_only) for resource in request.resources]
        return AlterConfigsResponse_v1(UNTHROTTLED, results)

    def _topic_metadata(self, name: str) -> tuple[Any, ...]:
        try:
            partitions = self._topics.partitions(name)
        except BrokerResponseError as error:
            return error.errno, name, False, []
        here = [_NODE]
        return NoError.errno, name, False, [(NoError.errno, one, _NODE, here, here, []) for one in range(partitions)]

    def _create(self, topic: tuple[Any, ...], *, only_check: bool) -> tuple[str, int, str | None]:
        name, partitions, replication, assignment, configs = topic
        try:
            if assignment:
                raise InvalidRequestError("there is one broker: nothing to assign replicas to")
            self._topics.create(name, partitions, replication, dict(configs), only_check=only_check)
        except BrokerResponseError as error:
            return name, error.errno, _told(error)
        return name, NoError.errno, None

    def _described(self, kind: int, name: str, wanted: Iterable[str] | None) -> tuple[Any, ...]:
        try:
            overrides = self._overrides(kind, name)
        except BrokerResponseError as error:
            return error.errno, _told(error), kind, name, []
        entries: list[tuple[Any, ...]] = [
            (key, overrides.get(key, default), False, _SET_FOR_THE_TOPIC if key in overrides else _DEFAULT, False, [])
            for key, default in DEFAULTS.items()
            if wanted is None or key in wanted
        ]
        return NoError.errno, None, kind, name, entries

    def _altered(self, kind: int, name: str, entries: list[tuple[str, str]], *, only_check: bool) -> tuple[Any, ...]:
        try:
            self._overrides(kind, name)
            self._topics.configure(name, dict(entries), only_check=only_check)
        except BrokerResponseError as error:
            return error.errno, _told(error), kind, name
        return NoError.errno, None, kind, name

    def _overrides(self, kind: int, name: str) -> dict[str, str]:
        if kind != _TOPIC_RESOURCE:
            raise InvalidRequestError("only topics have a configuration here")
        return self._topics.overrides(name)


def _told(error: BrokerResponseError) -> str:
    return str(error.args[0]) if error.args else str(error)
