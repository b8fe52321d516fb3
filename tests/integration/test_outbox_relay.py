"""The relay submits what was committed, once, wherever one is killed, and however late the next one comes."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from jabba import outbox
from jabba.errors import NotReady
from jabba.jobs import ids
from jabba.kafka import admin
from jabba.kafka.writer import Log
from jabba.messages import slices
from jabba.messages.topics import partition_of
from jabba.outbox.relay import Relay
from jabba.outbox.table import OutboxRows
from jabba.producer import Producer
from jabba.projection.fold import Fact, fold
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.log import read_slices

CALL = ["local", "shop", "ship"]


class Killed(BaseException):
    """The death of a relay: nothing of it tidies up."""


@pytest.fixture
async def settings(kafka: KafkaServer, database: str) -> Settings:
    made = Settings(kafka=kafka.bootstrap, prefix=f"x-{uuid4().hex[:8]}", partitions=2, produce_seconds=30)
    await admin.create_topics(made.cluster)
    run(database, outbox.DDL)
    return made


@pytest.fixture
async def relay(database: str, settings: Settings) -> AsyncIterator[Relay]:
    async with Relay(database, settings) as made:
        yield made


def run(dsn: str, sql: str, *parameters: Any) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        done = connection.execute(sql, parameters or None)
        return done.fetchall() if done.description else []


def add(dsn: str, count: int, tasks: int = 1, **options: Any) -> list[UUID]:
    with psycopg.connect(dsn) as connection:
        calls = [[*CALL, [n]] for n in range(tasks)]
        return [outbox.add(connection, calls, "order", **options).id for _ in range(count)]


def waiting(dsn: str) -> int:
    return int(run(dsn, "SELECT count(*) FROM jabba_outbox WHERE error IS NULL")[0][0])


def reasons(dsn: str) -> dict[UUID, str]:
    return dict(run(dsn, "SELECT id, error FROM jabba_outbox WHERE error IS NOT NULL"))


async def emptied(relay: Relay, dsn: str) -> None:
    while await asyncio.to_thread(waiting, dsn):
        await relay.step()


async def written(settings: Settings) -> list[slices.Slice]:
    """Return the slices in the log, partition by partition in their order."""
    return [slice_ for _, _, slice_ in sorted(await read_slices(settings), key=lambda one: one[:2])]


async def test_what_is_committed_is_submitted_in_its_order(relay: Relay, database: str, settings: Settings) -> None:
    added = add(database, 600)
    with psycopg.connect(database) as connection:
        outbox.add(connection, CALL, "order")
        connection.rollback()
    with psycopg.connect(database) as open_:
        late = outbox.add(open_, CALL, "order")
        await emptied(relay, database)
        assert late.id not in {one.job for one in await written(settings)}
    await emptied(relay, database)

    found = await written(settings)
    assert Counter(one.job for one in found) == Counter([*added, late.id])
    assert all(one.relayed for one in found)
    for partition in range(2):
        of_it = [job for job in added if partition_of(str(job), 2) == partition]
        assert [one.job for one in found if one.job in set(of_it)] == of_it


async def test_a_job_may_wait_for_as_long_as_it_likes(relay: Relay, database: str, settings: Settings) -> None:
    """Its id is that of the call, and the projection takes it all the same."""
    (job,) = add(database, 1)
    old = ids.new_job_id(time.time() - 30 * 3600)
    run(database, "UPDATE jabba_outbox SET id = %s, job = replace(job, %s, %s)", old, str(job), str(old))
    await emptied(relay, database)

    (slice_,) = await written(settings)
    assert slice_.job == old
    assert old in fold([Fact(slice_, int(time.time() * 1000))]).jobs


async def test_what_cannot_be_sent_is_set_aside_and_holds_up_nothing(
    relay: Relay, database: str, settings: Settings
) -> None:
    jobs = add(database, 6)
    too_large = add(database, 1, meta={"a": "x" * 100})[0]
    foreign, future = uuid4(), ids.new_job_id(time.time() + 3600)
    for job, change in [
        (jobs[0], "job = 'no JSON'"),
        (jobs[1], "job = '[]'"),
        (jobs[2], "job = replace(job, 'shop', '')"),
        (jobs[3], f"id = '{foreign}', job = replace(job, '{jobs[3]}', '{foreign}')"),
        (jobs[4], f"id = '{future}', job = replace(job, '{jobs[4]}', '{future}')"),
    ]:
        run(database, f"UPDATE jabba_outbox SET {change} WHERE id = %s", job)  # noqa: S608 — a test's own SQL
    async with Relay(database, settings.model_copy(update={"meta_bytes": 50})) as strict:
        await emptied(strict, database)

    found = reasons(database)
    assert set(found) == {*jobs[:3], foreign, future, too_large}
    assert "tasks[0].callback.module" in found[jobs[2]] or "1 invalid field" in found[jobs[2]]
    assert "UUIDv7" in found[foreign]
    assert "away from now" in found[future]
    assert "the limit is 50" in found[too_large]
    assert [one.job for one in await written(settings)] == [jobs[5]]


def dies_before(owner: type, name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(patches: pytest.MonkeyPatch) -> None:
        async def die(*_: object, **__: object) -> None:
            raise Killed

        patches.setattr(owner, name, die)

    return patch


def dies_behind(owner: type, name: str, calls: int = 1) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(patches: pytest.MonkeyPatch) -> None:
        done: Callable[..., Awaitable[Any]] = getattr(owner, name)
        made = iter(range(calls, 0, -1))

        async def do_and_die(*arguments: Any, **options: Any) -> Any:
            answer = await done(*arguments, **options)
            if next(made, 0) <= 1:
                raise Killed
            return answer

        patches.setattr(owner, name, do_and_die)

    return patch


DEATHS = {
    "before it begins": dies_before(OutboxRows, "begin"),
    "after it began": dies_behind(OutboxRows, "begin"),
    "before it sends": dies_before(Producer, "send"),
    "after the first was sent": dies_behind(Producer, "send"),
    "after half were sent": dies_behind(Producer, "send", 10),
    "after all were sent": dies_before(OutboxRows, "remove"),
    "before it commits": dies_behind(OutboxRows, "remove"),
}


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
@pytest.mark.parametrize("later", [0, 3600])
async def test_wherever_a_relay_dies_each_job_is_accepted_once(
    death: Callable[[pytest.MonkeyPatch], None],
    later: int,
    database: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once a repeat may stand in the log, under its id, and workers recognise it; later on none does."""
    added = add(database, 20)
    with monkeypatch.context() as patches:
        death(patches)
        async with Relay(database, settings) as first:
            with pytest.raises(Killed):
                await first.step()
    run(database, "UPDATE jabba_outbox SET sent_at = sent_at - make_interval(secs => %s)", later)
    async with Relay(database, settings) as second:
        await emptied(second, database)

    sent = Counter(one.job for one in await written(settings))
    assert set(sent) == set(added)
    assert max(sent.values()) <= (1 if later else 2)
    assert reasons(database) == {}


@pytest.mark.parametrize("later, completed", [(400, True), (3600, False)])
async def test_a_job_that_was_sent_in_part_is_completed_or_set_aside(
    later: int, relay: Relay, database: str, settings: Settings, *, completed: bool
) -> None:
    (job,) = add(database, 1, tasks=250, strategy="concurrent")
    (text,) = run(database, "SELECT job FROM jabba_outbox")[0]
    first = relay._read(job, text).slices[0]
    async with Log(settings.kafka_access) as log:
        message = slices.encode_message([first.text])
        await log.append(settings.topics.tasks, partition_of(first.key, 2), message)
    run(database, "UPDATE jabba_outbox SET sent_at = now() - make_interval(secs => %s)", later)
    await emptied(relay, database)

    found = {one.k for one in await written(settings)}
    assert found == ({0, 1, 2} if completed else {0})
    assert [reason.partition(":")[0] for reason in reasons(database).values()] == (
        [] if completed else ["1 of 3 slices were accepted"]
    )


async def test_what_was_sent_too_long_ago_for_the_log_to_tell_is_set_aside(
    relay: Relay, database: str, settings: Settings
) -> None:
    (job,) = add(database, 1)
    run(database, "UPDATE jabba_outbox SET sent_at = now() - interval '8 days'")
    await emptied(relay, database)

    assert list(reasons(database)) == [job]
    assert await written(settings) == []


async def test_between_sending_again_and_looking_it_rests(relay: Relay, database: str, settings: Settings) -> None:
    add(database, 1)
    run(database, "UPDATE jabba_outbox SET sent_at = now() - interval '270 seconds'")

    assert await relay.step() == 0
    assert (waiting(database), await written(settings)) == (1, [])


async def test_two_relays_share_the_work(relay: Relay, database: str, settings: Settings) -> None:
    added = add(database, 1200)
    async with Relay(database, settings) as other:
        await asyncio.gather(emptied(relay, database), emptied(other, database))

    assert Counter(one.job for one in await written(settings)) == Counter(added)


async def test_without_its_table_it_says_how_to_make_it(kafka: KafkaServer, database: str, settings: Settings) -> None:
    for table in ("other", "shop.jobs"):
        async with Relay(database, settings.model_copy(update={"outbox_table": table})) as relay:
            with pytest.raises(NotReady, match=f"no table {table}; `python -m jabba outbox --ddl`"):
                await relay.check()
