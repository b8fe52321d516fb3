"""What the broker can be asked, in which version, and who answers."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiokafka.errors import NoError, UnsupportedVersionError
from aiokafka.protocol.admin import (
    AlterConfigsRequest_v1,
    ApiVersionRequest_v0,
    ApiVersionRequest_v1,
    ApiVersionRequest_v2,
    ApiVersionResponse_v0,
    CreateTopicsRequest_v3,
    DescribeConfigsRequest_v2,
)
from aiokafka.protocol.commit import OffsetCommitRequest_v3, OffsetFetchRequest_v3
from aiokafka.protocol.coordination import FindCoordinatorRequest_v1
from aiokafka.protocol.fetch import FetchRequest_v4
from aiokafka.protocol.group import HeartbeatRequest_v1, JoinGroupRequest_v2, LeaveGroupRequest_v1, SyncGroupRequest_v1
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.offset import OffsetRequest_v3
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import InitProducerIdRequest_v0

from jabba.local.broker import wire
from jabba.local.broker.administration import Administration
from jabba.local.broker.coordination import Coordination
from jabba.local.broker.messages import UNTHROTTLED, Messages
from jabba.local.broker.wire import Question, WireError

Handler = Callable[[Any, str], Awaitable[Any]]
"""Answers a request of a client that calls itself so; None when the client expects no answer."""


class _Endpoint(NamedTuple):
    request: type[Any]
    handle: Handler


class Api:
    """The table of all endpoints. Each speaks one version, which clients learn when they connect."""

    def __init__(self, messages: Messages, coordination: Coordination, administration: Administration) -> None:
        endpoints = (
            _Endpoint(ProduceRequest_v7, messages.produce),
            _Endpoint(FetchRequest_v4, messages.fetch),
            _Endpoint(OffsetRequest_v3, messages.list_offsets),
            _Endpoint(MetadataRequest_v5, administration.metadata),
            _Endpoint(OffsetCommitRequest_v3, coordination.commit),
            _Endpoint(OffsetFetchRequest_v3, coordination.fetch_offsets),
            _Endpoint(FindCoordinatorRequest_v1, administration.find_coordinator),
            _Endpoint(JoinGroupRequest_v2, coordination.join),
            _Endpoint(HeartbeatRequest_v1, coordination.heartbeat),
            _Endpoint(LeaveGroupRequest_v1, coordination.leave),
            _Endpoint(SyncGroupRequest_v1, coordination.sync),
            _Endpoint(CreateTopicsRequest_v3, administration.create_topics),
            _Endpoint(InitProducerIdRequest_v0, administration.init_producer_id),
            _Endpoint(DescribeConfigsRequest_v2, administration.describe_configs),
            _Endpoint(AlterConfigsRequest_v1, administration.alter_configs),
            _Endpoint(ApiVersionRequest_v0, self._versions),
            _Endpoint(ApiVersionRequest_v1, self._versions),
            _Endpoint(ApiVersionRequest_v2, self._versions),
        )
        self._endpoints = {(one.request.API_KEY, one.request.API_VERSION): one for one in endpoints}

    async def answer(self, question: Question) -> bytes | None:
        """Return a request with a frame, None when no answer is expected.

        Raises:
            WireError: nothing here answers such a request.
        """
        endpoint = self._endpoints.get((question.api_key, question.api_version))
        if endpoint is not None:
            answer = await endpoint.handle(wire.read_body(question, endpoint.request), question.client_id)
            return None if answer is None else wire.framed(question, answer)
        if question.api_key == ApiVersionRequest_v0.API_KEY:
            # A newer client tries the newest version first, and is told in the oldest which ones there are.
            return wire.framed(question, ApiVersionResponse_v0(UnsupportedVersionError.errno, self._supported()))
        raise WireError(f"request {question.api_key} in version {question.api_version}")

    async def _versions(self, request: Any, _client_id: str) -> Any:
        answer = (NoError.errno, self._supported())
        return request.RESPONSE_TYPE(*answer, UNTHROTTLED) if request.API_VERSION else request.RESPONSE_TYPE(*answer)

    def _supported(self) -> list[tuple[int, int, int]]:
        versions: dict[int, list[int]] = {}
        for key, version in self._endpoints:
            versions.setdefault(key, []).append(version)
        return [(key, min(known), max(known)) for key, known in sorted(versions.items())]
