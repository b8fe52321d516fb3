"""What anyone may hear of the parts that a process needs, and what only its log has."""

import asyncio
import json
import logging
from datetime import UTC, datetime

import pytest

from jabba.errors import Unavailable
from tests.support.clocks import HandClock
from tests.support.logged import logged
from web.readiness import Readiness

FAULT = 'could not connect to server "db.internal"'


class Part:
    def __init__(self) -> None:
        self.fault = ""

    async def probe(self) -> None:
        if self.fault:
            raise Unavailable(self.fault)


async def test_a_part_is_red_since_it_was_first_seen_so_until_it_serves_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock, part = HandClock(), Part()
    readiness = Readiness({"database": part.probe, "kafka": Part().probe}, clock, 0.0)

    async def since() -> datetime | None:
        seen = await readiness.look()
        assert seen["kafka"] is None
        clock.seconds += 60
        return seen["database"]

    assert await since() is None
    for _ in range(2):
        part.fault, first = FAULT, datetime.fromtimestamp(clock.seconds, UTC)
        assert [await since(), await since()] == [first, first]
        part.fault = ""
        assert [await since(), await since()] == [None, None]
    assert [line.partition(": ")[2] for line in logged(caplog).splitlines()] == [
        f"part is not ready part=database error={json.dumps(FAULT)}",
        "part is ready again part=database",
    ] * 2


async def test_one_part_alone_does_not_wait_for_another() -> None:
    kafka, asked = Part(), asyncio.Event()

    async def hang() -> None:
        asked.set()
        await asyncio.Event().wait()

    readiness = Readiness({"database": hang, "kafka": kafka.probe}, HandClock(), 0.0)
    both = asyncio.create_task(readiness.look())
    await asked.wait()
    assert await readiness.look("kafka") == {"kafka": None}
    kafka.fault = FAULT
    assert list(await readiness.look("kafka")) == ["kafka"]
    assert (await readiness.look("kafka"))["kafka"] is not None
    assert not both.done()
    await readiness.close()
    with pytest.raises(asyncio.CancelledError):
        await both
