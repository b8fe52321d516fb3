"""Appending to Kafka itself while it does not know what is appended to."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import jabba.kafka.writer
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Log
from tests.support.kafka import KafkaServer

REQUEST_SECONDS = 1.0
SECONDS = 60.0


async def test_all_who_wait_for_a_topic_are_served_once_there_is_one(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jabba.kafka.writer, "_REQUEST_SECONDS", REQUEST_SECONDS)
    name = f"late-{uuid4().hex}"
    async with Log(KafkaAccess(kafka.bootstrap)) as log, asyncio.timeout(SECONDS):
        first = asyncio.create_task(log.append(name, 0, b"0"))
        # Those who come later are not through with their patience when the first one's ends.
        await asyncio.sleep(REQUEST_SECONDS / 2)
        waiting = [first, *(asyncio.create_task(log.append(name, 0, b"%d" % n)) for n in range(1, 4))]
        while "sending again" not in caplog.text:  # noqa: ASYNC110 — it tells its log only
            await asyncio.sleep(0.05)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1)])
        await admin.close()
        assert sorted(await asyncio.gather(*waiting)) == [0, 1, 2, 3]
