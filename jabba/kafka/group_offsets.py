"""What aiokafka takes for a group without offsets, and is none.

A coordinator that has just started says that it still loads them, once for the whole answer. aiokafka looks for errors
by partition only: every offset would be missing, and a consumer begin again with what has been done long ago.
"""

from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

_send = GroupCoordinator._send_req  # noqa: SLF001 — there is no other way to see the whole answer


async def _send_and_look(coordinator: GroupCoordinator, request: Any) -> Any:
    answer = await _send(coordinator, request)
    if isinstance(request, OffsetFetchRequest) and (code := getattr(answer, "error_code", 0)):
        error = for_code(code)
        if issubclass(error, NotCoordinatorForGroupError | GroupCoordinatorNotAvailableError):
            coordinator.coordinator_dead()
        raise error()
    return answer


def tell_errors() -> None:
    """Let every consumer of this process ask again for offsets that it did not get."""
    GroupCoordinator._send_req = _send_and_look  # noqa: SLF001 — see above
