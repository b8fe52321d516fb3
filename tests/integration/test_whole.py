"""Workers, web and projector as real processes, on Apache Kafka and PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from jabba import Client, Conflict, InvalidRequest, LimitExceeded, NotFound, Producer
from jabba.jobs import ids, json_codec
from jabba.jobs.models import Job, Task
from jabba.kafka.dead_letters import DeadLetters, Letter
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Log
from jabba.local.ports import free_port
from jabba.messages.topics import Topics
from jabba.producer.submission import StrategyName
from jabba.settings import Settings
from tests.support.callbacks import EXECUTIONS
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY, add_key
from tests.support.postgres import PostgresServer
from tests.support.processes import eventually, jabba_process

MODULE = "tests.support.callbacks"


@dataclass(frozen=True)
class House:
    kafka: str
    prefix: str
    url: str
    executions: Path

    @property
    def topics(self) -> Topics:
        return Topics(self.prefix)


@pytest.fixture(scope="module")
def house(kafka: KafkaServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("house")
    port = free_port()
    made = House(kafka.bootstrap, f"w-{uuid4().hex[:8]}", f"http://127.0.0.1:{port}", directory / "executions")
    environment = {
        "JABBA_KAFKA": made.kafka,
        "JABBA_DATABASE": postgres.create_database(f"whole_{uuid4().hex}"),
        "JABBA_PREFIX": made.prefix,
        "JABBA_PARTITIONS": "4",
        "JABBA_CALLBACKS": MODULE,
        "JABBA_UNKNOWN_CALLBACK_SECONDS": "0.5",
        "JABBA_WEB_PORT": str(port),
        EXECUTIONS: str(made.executions),
    }
    with ExitStack() as running:
        init = jabba_process("init", environment=environment, log=directory / "init.log").start()
        assert init.wait_for_exit() == 0, init.account("failed")
        add_key(environment["JABBA_DATABASE"])
        roles = [("worker", "worker-1"), ("worker", "worker-2"), ("web", "web"), ("projector", "projector")]
        processes = [
            running.enter_context(jabba_process(role, environment=environment, log=directory / f"{name}.log").start())
            for role, name in roles
        ]
        processes[0].wait_for_line("worker ready", 60)
        processes[2].wait_for_port(port, 60)
        yield made
        assert [process.terminate() for process in processes] == [0] * len(processes)


@pytest.fixture
async def client(house: House) -> AsyncIterator[Client]:
    async with Client(house.url, key=KEY) as made:
        yield made


@pytest.fixture
async def producer(house: House) -> AsyncIterator[Producer]:
    async with Producer(house.kafka, prefix=house.prefix) as made:
        yield made


def call(function: str, *args: Any) -> dict[str, Any]:
    return {"callback": {"service": "local", "module": MODULE, "function": function, "args": list(args)}}


async def finished(client: Client, tasks: list[Any], **options: Any) -> tuple[Job, list[Task]]:
    submitted = await client.create_job(tasks, "test", **options)
    job = await client.wait(submitted, timeout=60)
    return job, await client.get_tasks(job.id, cursor=(0, 1000))


def statuses(tasks: list[Task]) -> list[str]:
    return [str(task.status) for task in tasks]


async def test_a_job_submitted_over_http_runs_step_by_step(client: Client) -> None:
    job, tasks = await finished(client, [call("echo", n) for n in range(5)], name="steps", meta={"a": 1})
    assert (job.status, job.name, job.meta, job.strategy) == ("PROCESSED", "steps", {"a": 1}, "SEQUENTIALLY")
    assert job.ended_at is not None
    assert [(task.priority, task.status, task.result) for task in tasks] == [
        (n + 1, "PROCESSED", {"args": [n]}) for n in range(5)
    ]


async def test_a_job_submitted_by_the_producer_runs(producer: Producer, client: Client) -> None:
    submitted = await producer.create_job([call("threaded", "☃", None, {"ключ": ["𝄞"]})], "test")
    await client.wait(submitted.id, timeout=60)
    assert (await client.get_tasks(submitted.id))[0].result == {"args": ["☃", None, {"ключ": ["𝄞"]}]}


async def test_a_failure_in_the_middle_aborts_what_comes_after_it(client: Client) -> None:
    job, tasks = await finished(client, [call("echo"), call("error", "no stock"), call("echo"), call("echo")])
    assert (job.status, statuses(tasks)) == ("FAILED", ["PROCESSED", "FAILED", "ABORTED", "ABORTED"])
    assert tasks[1].result == {"why": "no stock"}
    assert all(task.ended_at is not None for task in tasks)


async def test_a_failure_among_concurrent_tasks_stops_none_of_the_others(client: Client) -> None:
    calls = [call("echo"), call("raises"), *(call("sleeps", 0.3) for _ in range(5))]
    job, tasks = await finished(client, calls, strategy="concurrent")
    assert (job.status, statuses(tasks)) == ("FAILED", ["PROCESSED", "RESCUED", *["PROCESSED"] * 5])
    assert isinstance(tasks[1].result, dict)
    assert (tasks[1].result["error"], tasks[1].result["type"]) == ("ValueError: bad luck", "ValueError")
    assert "bad luck" in str(tasks[1].result["traceback"])
    assert {task.priority for task in tasks} == {0}


async def test_every_answer_of_a_callback_has_its_meaning(client: Client) -> None:
    expected: list[tuple[dict[str, Any], str, Any]] = [
        (call("nothing"), "PROCESSED", {}),
        (call("ok"), "PROCESSED", {}),
        (call("ok_map"), "PROCESSED", {"n": 1}),
        (call("number"), "PROCESSED", {"success": "42"}),
        (call("task_error", "x"), "FAILED", {"why": "x"}),
        (call("absent"), "FAILED", "unknown callback"),
        ({"callback": ["elsewhere", MODULE, "echo", []]}, "FAILED", "unknown service 'elsewhere'"),
        (call("echo_with_wrong_args"), "FAILED", "unknown callback"),
        (call("error"), "RESCUED", "TypeError"),
        (call("large", 1024 * 1024), "FAILED", "the limit is 1,048,576"),
        (call("not_json"), "FAILED", "not a JSON number"),
    ]
    _, tasks = await finished(client, [task for task, _, _ in expected], strategy="concurrent")
    assert statuses(tasks) == [status for _, status, _ in expected]
    for task, (_, _, result) in zip(tasks, expected, strict=True):
        if isinstance(result, dict):
            assert task.result == result
        else:
            assert isinstance(task.result, dict)
            assert result in str(task.result["error"])


async def test_a_callback_knows_its_task(client: Client) -> None:
    job, tasks = await finished(client, [call("who")])
    assert tasks[0].result == {"job_id": str(job.id), "task_id": str(tasks[0].id), "attempt": 1}


async def test_a_long_step_is_seen_while_it_runs(client: Client) -> None:
    submitted = await client.create_job([call("sleeps", 10), call("echo")], "test")

    async def is_seen() -> bool:
        return statuses(await client.get_tasks(submitted.id)) == ["CONSUMED", "NEW"]

    await eventually(is_seen, what="step that runs")


async def test_slices_are_cut_at_their_limit_and_keep_the_order(client: Client, house: House) -> None:
    tag = uuid4().hex
    payload = "x" * (200 * 1024)
    job, tasks = await finished(client, [call("note", tag, n, payload) for n in range(12)])
    assert (job.status, len(tasks)) == ("PROCESSED", 12)
    lines = [line.split()[1] for line in house.executions.read_text().splitlines() if line.startswith(tag)]
    assert lines == [str(n) for n in range(12)]


async def test_the_same_submission_twice_runs_once(producer: Producer, client: Client, house: House) -> None:
    tag = uuid4().hex
    first = await producer.create_job([call("note", tag)], "test")
    await client.wait(first.id, timeout=60)
    for _ in range(3):
        await producer.create_job([call("note", tag)], "test", id=first.id)
    marker = await client.create_job([call("echo")], "test")
    await client.wait(marker, timeout=60)
    assert house.executions.read_text().count(tag) == 1


async def test_a_repeated_submission_is_answered_with_the_job_there_is(client: Client) -> None:
    submitted = await client.create_job([call("echo", 1)], "test", meta={"a": 1})
    job = await client.wait(submitted, timeout=60)
    again = await client.create_job([call("echo", 1)], "test", meta={"a": 1}, id=job.id)
    assert again.job == job


async def test_another_job_under_the_same_id_is_refused(client: Client, producer: Producer, house: House) -> None:
    tag = uuid4().hex
    submitted = await client.create_job([call("note", tag, "first")], "test", id=ids.new_job_id(time.time()))
    with pytest.raises(Conflict):
        await client.create_job([call("note", tag, "second")], "test", id=submitted.id)
    job = await client.wait(submitted, timeout=60)
    with pytest.raises(Conflict):
        await client.create_job([call("note", tag, "third")], "test", id=job.id)
    # Whoever goes round the web is stopped by the worker.
    await producer.create_job([call("note", tag, "fourth")], "test", id=job.id)
    await finished(client, [call("echo")])
    letters = [json_codec.decode(letter) for letter in await dead_letters(house, 1)]
    assert "another job has this id" in [letter["reason"] for letter in letters]
    assert [line for line in house.executions.read_text().splitlines() if tag in line] == [f"{tag} first"]


async def test_a_hundred_thousand_tasks(client: Client, producer: Producer) -> None:
    submitted = await producer.create_job([call("echo", n) for n in range(100_000)], "test", strategy="concurrent")
    job = await client.wait(submitted, timeout=240)
    assert job.status == "PROCESSED"
    (last,) = await client.get_tasks(job.id, cursor=(99_999, 10))
    assert last.result == {"args": [99_999]}


async def test_a_message_that_is_none_goes_to_the_dead_letters_and_work_goes_on(client: Client, house: House) -> None:
    garbage = f"not json {uuid4().hex}".encode()
    async with Log(KafkaAccess(house.kafka)) as log:
        for partition in range(4):
            await log.append(house.topics.tasks, partition, garbage)
    job, _ = await finished(client, [call("echo") for _ in range(8)], strategy="concurrent")
    assert job.status == "PROCESSED"
    letters = await dead_letters(house, 8)
    found = [letter for letter in letters if json_codec.decode(letter)["topic"] == house.topics.tasks]
    # Workers and projector each put it aside.
    assert {json_codec.decode(letter)["partition"] for letter in found} == {0, 1, 2, 3}


async def test_dead_letters_are_listed_shown_and_sent_again(house: House) -> None:
    garbage = f"garbage {uuid4().hex}"
    settings = Settings(kafka=house.kafka, prefix=house.prefix)
    async with Log(KafkaAccess(house.kafka)) as log, DeadLetters(settings.kafka_access, settings.topics) as letters:
        offset = await log.append(house.topics.tasks, 1, garbage.encode())

        async def put_aside() -> list[Letter]:
            return [letter async for letter in letters.all() if letter.value.decode() == garbage]

        found = (await eventually(put_aside, 30, "letter"))[0]
        assert (found.topic, found.partition, found.offset) == (house.topics.tasks, 1, offset)
        assert await letters.get(found.place) == found
        again = await letters.retry(found.place)

        async def put_aside_again() -> bool:
            return again in [letter.offset for letter in await put_aside()]

        await eventually(put_aside_again, 30, "second letter")
        with pytest.raises(NotFound):
            await letters.get("1:999999")


def test_the_command_line_lists_dead_letters(house: House, tmp_path: Path) -> None:
    environment = {"JABBA_KAFKA": house.kafka, "JABBA_PREFIX": house.prefix}
    listing = jabba_process("dead-letters", "list", "--json", environment=environment, log=tmp_path / "list").start()
    assert listing.wait_for_exit() == 0, listing.account("failed")
    newest = json_codec.decode(listing.output())[0]
    showing = jabba_process("dead-letters", "show", newest["place"], environment=environment, log=tmp_path / "show")
    assert showing.start().wait_for_exit() == 0, showing.account("failed")
    assert newest["reason"][:20] in showing.output()


async def dead_letters(house: House, expected: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        house.topics.dead_letters, bootstrap_servers=house.kafka, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    letters: list[bytes] = []
    try:
        async with asyncio.timeout(30):
            while len(letters) < expected:
                for messages in (await consumer.getmany(timeout_ms=500)).values():
                    letters += [message.value for message in messages]
    finally:
        await consumer.stop()
    return letters


BAD_INPUT: list[tuple[str, dict[str, Any], str]] = [
    ("no tasks", {"tasks": []}, "tasks"),
    ("no function", {"tasks": [{"callback": {"service": "local", "module": "m"}}]}, "tasks[0].callback.function"),
    ("wrong type", {"tasks": [call("echo"), {**call("echo"), "name": 7}]}, "tasks[1].name"),
    ("unknown field", {"tasks": [{**call("echo"), "colour": "red"}]}, "tasks[0].colour"),
    ("wrong strategy", {"tasks": [call("echo")], "strategy": "sideways"}, "strategy"),
    ("NUL in args", {"tasks": [call("echo", "a\0b")]}, "tasks[0].callback.args[0]"),
    ("NUL in meta", {"tasks": [call("echo")], "meta": {"a": ["\0"]}}, "meta.a[0]"),
    ("no UUIDv7", {"tasks": [call("echo")], "id": str(uuid4())}, "id"),
    ("old id", {"tasks": [call("echo")], "id": "01890a5d-ac96-774b-bcce-b302099a8057"}, "id"),
]


@pytest.mark.parametrize("document, field", [case[1:] for case in BAD_INPUT], ids=[case[0] for case in BAD_INPUT])
async def test_bad_input_is_refused_and_its_field_named(client: Client, document: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await client.submit({"type": "test", **document})
    assert refused.value.status == 422
    assert field in [error.field for error in refused.value.fields]


async def test_too_large_input_is_refused_and_its_field_named(client: Client) -> None:
    with pytest.raises(LimitExceeded) as refused:
        await client.create_job([call("echo", "x" * (1024 * 1024 + 1))], "test")
    assert refused.value.fields[0].field == "tasks[0].callback.args"
    with pytest.raises(LimitExceeded) as refused:
        await client.create_job([call("echo")] * 100_001, "test")
    assert refused.value.fields[0].field == "tasks"


async def test_the_calls_of_jabba_rpc_are_written_alike(client: Client) -> None:
    """Each example of the interface that is made anew here, line by line: a tuple for a tuple, a string for an atom."""
    created = await client.create_job(
        ("local", MODULE, "echo", ["2e7141ac-d021-448f-a71a-f6ea454a06b8"]),
        "deactivation_legal_entity",
        meta={
            "request_id": "197bed61-5e4b-49d1-b064-5830c8f18146",
            "legal_entity_id": "2e7141ac-d021-448f-a71a-f6ea454a06b8",
        },
    )
    assert (created.job.type, created.job.status) == ("deactivation_legal_entity", "PENDING")
    await client.wait(created, timeout=60)

    job = await client.get_job(created.id)
    assert set(job.model_dump()) >= {
        *("id", "name", "type", "status", "strategy", "meta", "ended_at", "inserted_at", "updated_at"),
    }
    assert (job.id, job.status, job.strategy, job.meta) == (created.id, "PROCESSED", "SEQUENTIALLY", created.job.meta)

    jobs = await client.search_jobs([("status", "equal", "PROCESSED")], [("desc", "status")], (0, 10))
    assert 0 < len(jobs) <= 10
    assert {one.status for one in jobs} == {"PROCESSED"}
    mine = ("meta", None, [("request_id", "equal", "197bed61-5e4b-49d1-b064-5830c8f18146")])
    assert list(await client.search_jobs([mine], [("desc", "status")], (0, 10))) == [job]

    [task] = await client.search_tasks([("job_id", "equal", str(created.id))], [("desc", "status")], (0, 10))
    assert set(task.model_dump()) >= {
        *("id", "job_id", "callback", "name", "priority", "result", "meta", "status"),
        *("ended_at", "inserted_at", "updated_at"),
    }
    assert (task.job_id, task.status, task.callback.function) == (created.id, "PROCESSED", "echo")


@pytest.mark.parametrize("strategy", ["sequentially", "concurrent"])
async def test_the_strategies_of_jabba_rpc_have_their_names(client: Client, strategy: StrategyName) -> None:
    task: dict[str, Any] = {"callback": ("local", MODULE, "echo", []), "name": "Some task name"}
    failing = {"callback": ("local", MODULE, "error", ["no"])}
    created = await client.create_job([task, failing, task], "test", strategy=strategy, name="Job name")
    job = await client.wait(created, timeout=60)
    assert (job.name, job.status) == ("Job name", "FAILED")
    last = "ABORTED" if strategy == "sequentially" else "PROCESSED"
    assert statuses(await client.get_tasks(job.id)) == ["PROCESSED", "FAILED", last]


async def test_a_task_is_attempted_again_and_every_attempt_is_there_to_be_read(client: Client) -> None:
    policy = {"initial": 0.01, "max_attempts": 4}
    job = await client.create_job(
        [
            {"callback": ["local", MODULE, "flaky", [2]], "retry": policy},
            ["local", MODULE, "raises_once", []],
            {
                "callback": ["local", MODULE, "sleeps", [60.0]],
                "timeout": 0.2,
                "retry": {"max_attempts": 2, "initial": 3},
            },
        ],
        "retries",
    )
    ended = await client.wait(job)
    assert ended.status == "FAILED"
    first, second, third = await client.get_tasks(job.id)
    assert [(one.status, one.attempt) for one in (first, second, third)] == [
        ("PROCESSED", 3),
        ("PROCESSED", 2),
        ("FAILED", 2),
    ]
    assert first.result == {"attempt": 3}

    details = await client.get_task(first.id)
    assert [(one.attempt, one.outcome, one.error) for one in details.attempts] == [
        (1, "error", "attempt 1 of 3"),
        (2, "error", "attempt 2 of 3"),
        (3, "ok", None),
    ]
    for one in details.attempts:
        assert one.started_at is not None
        assert one.ended_at is not None
        assert one.worker
    raised = (await client.get_task(second.id)).attempts
    assert [(one.outcome, one.error) for one in raised] == [("raised", "ValueError: the first time"), ("ok", None)]
    slow = (await client.get_task(third.id)).attempts
    assert [one.outcome for one in slow] == ["timeout", "timeout"]
    assert slow[0].next_at is not None


async def test_an_unknown_task_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        await client.get_task(uuid4())
