"""Brokers that do not tell which rights a client has: it goes on, as before there was a question."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jabba.errors import Refused
from jabba.kafka import acls
from jabba.kafka.acls import check_acls, rights_of
from jabba.kafka.security import KafkaAccess, KafkaSecurity
from jabba.messages.topics import Topics

ACCESS = KafkaAccess("k:9", KafkaSecurity(protocol="sasl_ssl", sasl="plain", user="shop", password="secret"))  # noqa: S106
TOPICS = Topics()


class Broker:
    """Answers about topics in the versions that it knows, with the same operations for each."""

    def __init__(self, newest: int, operations: int) -> None:
        self._newest = newest
        self._operations = operations

    async def _send_request(self, request: Any) -> Any:
        topics = request.prepare({3: (0, self._newest)}).topics
        return acls._TopicsResponse(0, [], "c", 1, [(0, name, False, [], self._operations) for name in topics], 0)

    async def ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        @asynccontextmanager
        async def connected(_: KafkaAccess) -> AsyncIterator["Broker"]:
            yield self

        monkeypatch.setattr(acls, "_connected", connected)
        await check_acls(ACCESS, rights_of("outbox", TOPICS))


async def test_one_that_does_not_tell_is_believed_to_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    await Broker(7, 0).ask(monkeypatch)
    await Broker(8, -(2**31)).ask(monkeypatch)


async def test_one_that_tells_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    await Broker(8, 1 << 3 | 1 << 4 | 1 << 8).ask(monkeypatch)
    with pytest.raises(Refused, match="user 'shop' Write on topic jabba-tasks; docs"):
        await Broker(8, 1 << 3 | 1 << 8).ask(monkeypatch)
