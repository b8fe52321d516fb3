"""Members of consumer groups: in the test's own process, or in another one that can be killed."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from tests.support.processes import ChildProcess

SESSION_MS = 6000
"""The shortest that Apache Kafka allows."""


def member(bootstrap: str, topic: str, session_ms: int = SESSION_MS, **options: Any) -> AIOKafkaConsumer:
    """Return a member, not yet started, of the group that reads ``topic``."""
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"group-{topic}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=100,
        retry_backoff_ms=20,
        **options,
    )


def member_process(bootstrap: str, topic: str, log: Path, session_ms: int = SESSION_MS) -> ChildProcess:
    """Return a member that can be killed; it writes ``reads N`` when it has N partitions."""
    program = [sys.executable, "-m", __name__, bootstrap, topic, str(session_ms)]
    return ChildProcess("member", program, environment=os.environ, log=log)


async def _tell_assignment(bootstrap: str, topic: str, session_ms: str) -> None:
    async with member(bootstrap, topic, int(session_ms)) as consumer:
        while True:
            print("reads", len(consumer.assignment()), flush=True)  # noqa: T201 - for whoever reads the log
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(_tell_assignment(*sys.argv[1:]))
