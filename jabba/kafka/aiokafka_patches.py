"""What aiokafka does not notice, corrected: for all clients of Jabba's own processes, or for a single one.

A broker that was held up has lost its place in the cluster, and until it has it again answers that there are no brokers
at all. A client that starts on that answer fails later with an error that is none of Kafka's.

A coordinator that has just started says that it still loads a group's offsets, once for the whole answer. aiokafka
looks for errors by partition only: every offset would be missing, and a consumer begin again with what has been done
long ago.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest

_bootstrap = AIOKafkaClient.bootstrap
_send = GroupCoordinator._send_req  # noqa: SLF001 — there is no other way to see the whole answer


def apply() -> None:
    """Correct aiokafka for this whole process, which must be one of Jabba's own: it changes classes of aiokafka."""
    AIOKafkaClient.bootstrap = _bootstrap_and_look
    GroupCoordinator._send_req = _send_and_look  # noqa: SLF001 — see above


def insist_on_brokers(client: AIOKafkaClient) -> None:
    """Let this one client fail to start as long as it knows no broker, as if it had reached none."""
    bootstrap = client.bootstrap
    client.bootstrap = lambda: _look(client, bootstrap)


async def _bootstrap_and_look(client: AIOKafkaClient) -> None:
    await _look(client, lambda: _bootstrap(client))


async def _look(client: AIOKafkaClient, bootstrap: Callable[[], Awaitable[None]]) -> None:
    await bootstrap()
    if not client.cluster.brokers():
        await client.close()
        raise KafkaConnectionError("the cluster knows of no broker")


async def _send_and_look(coordinator: GroupCoordinator, request: Any) -> Any:
    answer = await _send(coordinator, request)
    if isinstance(request, OffsetFetchRequest) and (code := getattr(answer, "error_code", 0)):
        error = for_code(code)
        if issubclass(error, NotCoordinatorForGroupError | GroupCoordinatorNotAvailableError):
            coordinator.coordinator_dead()
        raise error()
    return answer
