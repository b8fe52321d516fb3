import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast
from uuid import UUID

import pytest

from jabba.errors import Closed, InvalidRequest, LimitExceeded, NotReady, Unavailable
from jabba.jobs import ids
from jabba.jobs.models import Callback, Job, Limits, TaskSpec
from jabba.kafka.writer import Log
from jabba.messages.slices import Slice, decode_message
from jabba.producer import Producer, SyncProducer, producer
from jabba.producer.submission import prepare

NOW = 1_700_000_000.0
TASK = ["local", "shop", "ship", [1]]


class FixedClock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class MemoryLog:
    """A log of lists, which acknowledges while ``open`` is set; ``asked`` is set from the first message on."""

    def __init__(self, partitions: int = 4) -> None:
        self.messages: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def append(self, topic: str, partition: int, value: bytes, *, within: float) -> int:
        assert topic == "jabba-tasks"
        self.asked.set()
        await asyncio.wait_for(self.open.wait(), within)
        self.messages[partition].append(value)
        return len(self.messages[partition]) - 1

    async def partitions(self, topic: str, *, within: float) -> int:
        return len(self.messages)

    async def stop(self) -> None:
        self.open.set()

    def slices(self) -> list[tuple[int, int, Slice]]:
        """Return partition, offset and slice of all that was sent."""
        return [
            (partition, offset, one)
            for partition, messages in self.messages.items()
            for offset, message in enumerate(messages)
            for one in decode_message(message)
        ]


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
async def submitting(log: MemoryLog) -> AsyncIterator[Callable[..., Producer]]:
    made: list[Producer] = []

    def make(**options: Any) -> Producer:
        made.append(Producer("nowhere:1", clock=FixedClock(), **options))
        made[-1]._log = cast("Log", log)
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_a_sequential_job_travels_in_order_in_the_one_partition_its_position_names(
    log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    submitted = await submitting().create_job([TASK] * 250, "shipping")
    found = log.slices()
    assert {partition for partition, _, _ in found} == set(submitted.position)
    assert [one.k for _, _, one in found] == [0, 1, 2]
    assert submitted.position == {found[0][0]: max(offset for _, offset, _ in found)}
    assert submitted.position_text == f"{found[0][0]}:{found[-1][1]}"


async def test_a_concurrent_job_spreads_and_its_position_has_every_partition(
    log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    submitted = await submitting().create_job([TASK] * 5000, "shipping", strategy="concurrent")
    found = log.slices()
    assert sorted(one.k for _, _, one in found) == list(range(50))
    assert set(submitted.position) == {0, 1, 2, 3}
    assert all(submitted.position[partition] >= offset for partition, offset, _ in found)


async def test_the_answer_is_the_job_as_accepted(submitting: Callable[..., Producer]) -> None:
    submitted = await submitting().create_job(TASK, "shipping", meta={"request_id": "r1"}, name="ship it")
    job = submitted.job
    assert isinstance(job, Job)
    assert submitted.id == job.id
    assert ids.job_seconds(job.id) == NOW
    assert (job.type, job.status, job.strategy) == ("shipping", "PENDING", "SEQUENTIALLY")
    assert (job.name, job.meta, job.ended_at) == ("ship it", {"request_id": "r1"}, None)
    assert job.inserted_at.timestamp() == job.updated_at.timestamp() == NOW


@pytest.mark.parametrize(
    "tasks",
    [
        TASK,
        {"callback": TASK},
        [TASK],
        Callback(service="local", module="shop", function="ship", args=[1]),
        TaskSpec(callback=Callback(service="local", module="shop", function="ship", args=[1])),
        ({"callback": {"service": "local", "module": "shop", "function": "ship", "args": [1]}},),
    ],
)
async def test_every_way_to_write_a_task_means_the_same(
    tasks: Any, log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    await submitting().create_job(tasks, "shipping")
    [(_, _, sent)] = log.slices()
    assert sent.tasks == [TaskSpec(callback=Callback(service="local", module="shop", function="ship", args=[1]))]


async def test_a_given_id_is_kept_and_a_repeat_is_cut_alike(
    log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    job, submit = ids.new_job_id(NOW), submitting()
    first = await submit.create_job(TASK, "shipping", id=job)
    second = await submit.create_job(TASK, "shipping", id=str(job))
    assert first.id == second.id == job
    assert log.slices()[0][2] == log.slices()[1][2]


@pytest.mark.parametrize(
    "given, field",
    [
        ({"id": UUID(int=7)}, "id"),
        ({"id": ids.new_job_id(NOW - 301)}, "id"),
        ({"id": "no-uuid"}, "id"),
        ({"type": ""}, "type"),
        ({"meta": "words"}, "meta"),
        ({"meta": {"note": "nul\0"}}, "meta.note"),
        ({"meta": {"x": float("nan")}}, "meta.x"),
        ({"strategy": "sideways"}, "strategy"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [TASK, {"callback": {"service": "local", "module": "shop"}}]}, "tasks[1].callback.function"),
    ],
)
async def test_a_wrong_argument_is_refused_by_name_and_nothing_is_sent(
    given: dict[str, Any], field: str, log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    arguments = {"tasks": TASK, "type": "shipping"} | given
    with pytest.raises(InvalidRequest) as refusal:
        await submitting().create_job(arguments.pop("tasks"), arguments.pop("type"), **arguments)
    assert field in [one.field for one in refusal.value.fields]
    assert log.slices() == []


@pytest.mark.parametrize("unknown", ["callback", "run_at", "colour", "priority"])
def test_what_is_not_a_part_of_a_submission_is_refused(unknown: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        prepare({"tasks": TASK, "type": "shipping", unknown: None}, Limits(), NOW)
    assert [one.field for one in refusal.value.fields] == [unknown]


def test_limits_hold_for_every_submitter() -> None:
    with pytest.raises(LimitExceeded) as refusal:
        prepare({"tasks": [TASK] * 3, "type": "shipping"}, Limits(tasks_per_job=2), NOW)
    assert [one.field for one in refusal.value.fields] == ["tasks"]


async def test_several_jobs_are_answered_in_their_order(log: MemoryLog, submitting: Callable[..., Producer]) -> None:
    jobs = [{"tasks": TASK, "type": f"t{number}"} for number in range(100)]
    deliveries = [one async for one in submitting().create_jobs(jobs)]
    assert [one.number for one in deliveries] == list(range(100))
    assert [one.result().job.type for one in deliveries] == [job["type"] for job in jobs]
    assert {one.job for _, _, one in log.slices()} == {one.id for one in deliveries}
    assert sum(map(len, log.messages.values())) < 100, "what waits together travels together"


async def test_of_several_jobs_a_wrong_one_has_its_error_and_the_others_go_on(
    log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    job = ids.new_job_id(NOW)

    async def jobs() -> AsyncIterator[Any]:
        yield {"tasks": TASK, "type": "a"}
        yield {"tasks": TASK, "type": "", "id": str(job)}
        yield 7
        yield {"tasks": TASK, "type": "b"}

    first, wrong, none, last = [one async for one in submitting().submit_many(jobs())]
    assert {one.type for _, _, one in log.slices()} == {"a", "b"}
    assert (first.result().job.type, last.result().job.type) == ("a", "b")
    assert (wrong.number, wrong.id, wrong.submitted) == (1, job, None)
    assert isinstance(wrong.error, InvalidRequest)
    assert [one.field for one in wrong.error.fields] == ["type"]
    assert none.id is None
    with pytest.raises(InvalidRequest):
        none.result()


async def test_of_several_jobs_those_that_kafka_did_not_acknowledge_say_so_with_their_ids(
    log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    log.open.clear()
    deliveries = [one async for one in submitting(produce_seconds=0.05).create_jobs([{"tasks": TASK, "type": "a"}] * 3)]
    assert [type(one.error) for one in deliveries] == [Unavailable] * 3
    assert len({one.id for one in deliveries} - {None}) == 3


async def test_jobs_are_read_no_faster_than_kafka_takes_them(
    log: MemoryLog, submitting: Callable[..., Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "IN_FLIGHT_JOBS", 5)
    read = 0

    def jobs() -> Iterator[Any]:
        nonlocal read
        for read in range(1, 101):  # noqa: B007 — counted for the test
            yield {"tasks": TASK, "type": "a"}

    log.open.clear()
    deliveries = submitting().create_jobs(jobs())
    first = asyncio.ensure_future(anext(deliveries))
    await asyncio.wait_for(log.asked.wait(), 5)
    await asyncio.sleep(0.05)
    assert read == 6
    log.open.set()
    await first
    assert len([one async for one in deliveries]) == 99


async def test_a_silent_kafka_is_an_error_with_the_id_to_repeat(
    log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    job, submit = ids.new_job_id(NOW), submitting(produce_seconds=0.05)
    log.open.clear()
    with pytest.raises(Unavailable, match=str(job)):
        await submit.create_job(TASK, "shipping", id=job)
    submit._produce_seconds = 10
    log.open.set()
    assert (await submit.create_job(TASK, "shipping", id=job)).id == job


async def test_what_was_given_up_while_it_waited_is_never_sent(
    log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    log.messages = {0: []}
    submit = submitting()
    log.open.clear()
    under_way = asyncio.create_task(submit.create_job(TASK, "under way"))
    await asyncio.wait_for(log.asked.wait(), 5)
    # Behind a write that has more patience than they: had both the same, they might be in the next one when they end.
    submit._produce_seconds = 0.05
    refused = await asyncio.gather(*(submit.create_job(TASK, "late") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in refused)
    submit._produce_seconds = 10
    log.open.set()
    await submit.create_job(TASK, "after")
    await under_way
    assert [one.type for _, _, one in log.slices()] == ["under way", "after"]


async def test_an_outage_is_not_piled_up_in_memory(
    monkeypatch: pytest.MonkeyPatch, log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    monkeypatch.setattr(producer, "MAX_WAITING_BYTES", 2000)
    submit = submitting(produce_seconds=5)
    log.open.clear()
    large = asyncio.create_task(submit.create_job(["local", "shop", "ship", ["x" * 3000]], "large"))
    await asyncio.wait_for(log.asked.wait(), 5)
    with pytest.raises(Unavailable, match="too much is waiting"):
        await submit.create_job(TASK, "small")
    log.open.set()
    await large
    await submit.create_job(TASK, "small")


async def test_closing_answers_those_who_wait(log: MemoryLog, submitting: Callable[..., Producer]) -> None:
    submit = submitting()
    log.open.clear()
    waiting = asyncio.create_task(submit.create_job(TASK, "shipping"))
    await asyncio.sleep(0.01)
    await submit.close()
    with pytest.raises(Unavailable, match="before this producer was closed; it may be sent again"):
        await waiting


async def test_a_closed_producer_says_so_at_once(submitting: Callable[..., Producer]) -> None:
    submit = submitting()
    await submit.close()
    prepared = prepare({"tasks": TASK, "type": "shipping"}, Limits(), NOW)
    uses: list[Callable[[], Awaitable[object]]] = [
        lambda: submit.create_job(TASK, "shipping"),
        lambda: submit.submit({"tasks": TASK, "type": "shipping"}),
        lambda: submit.send(prepared),
        submit.check,
        submit.__aenter__,
    ]
    for use in uses:
        with pytest.raises(Closed, match="this producer is closed"):
            await use()
    with pytest.raises(Closed, match="this producer is closed"):
        submit.create_jobs([])


def test_a_producer_belongs_to_its_event_loop(log: MemoryLog) -> None:
    submit = Producer("nowhere:1", clock=FixedClock())
    submit._log = cast("Log", log)
    asyncio.run(submit.create_job(TASK, "shipping"))
    with pytest.raises(Closed, match="another event loop: make one in each"):
        asyncio.run(submit.create_job(TASK, "shipping"))
    asyncio.run(submit.close())


async def test_missing_topics_are_told_with_the_command_to_run(
    monkeypatch: pytest.MonkeyPatch, log: MemoryLog, submitting: Callable[..., Producer]
) -> None:
    async def partitions(topic: str, *, within: float) -> int:
        raise NotReady("run `python -m jabba init`")

    monkeypatch.setattr(log, "partitions", partitions)
    with pytest.raises(NotReady, match="jabba init"):
        async with submitting():
            pass


def test_code_without_an_event_loop_submits_too(log: MemoryLog) -> None:
    submit = SyncProducer("nowhere:1", clock=FixedClock())
    submit._producer._log = cast("Log", log)
    with submit:
        one = submit.create_job(TASK, "shipping", meta={"a": 1})
        two = [one.result() for one in submit.create_jobs({"tasks": TASK, "type": "billing"} for _ in range(2001))]
        with pytest.raises(InvalidRequest):
            submit.create_job(TASK, "")
    assert {found.job for _, _, found in log.slices()} == {one.id, *(each.id for each in two)}
    submit.close()
    uses: list[Callable[[], object]] = [
        lambda: submit.create_job(TASK, "shipping"),
        lambda: submit.submit({"tasks": TASK, "type": "shipping"}),
        lambda: submit.create_jobs([]),
        submit.__enter__,
    ]
    for use in uses:
        with pytest.raises(Closed, match="this producer is closed"):
            use()
