"""Messages as they were written once: topics and changelogs hold them, so they must be read for ever.

When a form grows, leave its recorded message as it is, make the new field optional where it is read, and record a
message of the new form beside it. A test here that fails says that running installations could not be upgraded.
"""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from jabba.engine.attempts import Attempts
from jabba.engine.records import Claim, Folded, JobRecord, LaneName, LaneRecord, Parting, Stamp, is_marker
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import (
    CallReport,
    Event,
    JobClosed,
    Strategy,
    TaskAttempted,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskSucceeded,
    Version,
)
from jabba.jobs.models import Callback, TaskSpec
from jabba.kafka.dead_letters import Letter
from jabba.messages.commands import CloseJob, decode_commands
from jabba.messages.events import decode_events, encode_event, encode_events
from jabba.messages.slices import Slice, decode_message

MESSAGES = Path(__file__).parent / "messages"
JOB = UUID("01a209b3-0fbd-7764-ab25-cc8851dd49f4")


def recorded(name: str) -> bytes:
    return (MESSAGES / name).read_bytes()


def shop(function: str, *args: object) -> Callback:
    return Callback(service="local", module="shop", function=function, args=list(args))


TASKS = [
    TaskSpec(callback=shop("reserve", 17, {"a": None})),
    TaskSpec(callback=shop("ship"), name="ship", meta={"x": 1}),
]
META = {"request_id": "197bed61", "n": [1, None, 1.5, {"ключ": True}]}
SUBMITTED = Slice(
    job=JOB,
    k=0,
    n_slices=1,
    first=0,
    total=2,
    digest="5003a11639ab064ac8297b7d8f98cf31",
    strategy=Strategy.SEQUENTIAL,
    type="order",
    name="Bestellung ☃",
    meta=META,
    tasks=TASKS,
)


def test_a_sequential_submission() -> None:
    assert decode_message(recorded("tasks-sequential.json")) == [SUBMITTED]


def test_a_concurrent_submission_of_two_slices() -> None:
    first, second = decode_message(recorded("tasks-concurrent.json"))
    assert (first.k, first.first, len(first.tasks), second.k, second.first) == (0, 0, 100, 1, 100)
    assert {(part.n_slices, part.total, part.strategy) for part in (first, second)} == {(2, 101, Strategy.CONCURRENT)}
    assert [task.callback.args for task in (*first.tasks, *second.tasks)] == [[n] for n in range(101)]
    assert (first.key, second.key) == (f"{JOB}/0/0", f"{JOB}/0/1")


def test_a_submission_of_a_later_run() -> None:
    digest = "3f11915cede90c57a7ac02e1d7aaf1f3"
    again = SUBMITTED.model_copy(update={"run": 1, "done": [0], "digest": digest})
    assert decode_message(recorded("tasks-rerun.json")) == [again]


def test_a_submission_from_an_outbox() -> None:
    assert decode_message(recorded("tasks-relayed.json")) == [SUBMITTED.model_copy(update={"relayed": True})]


def test_a_submission_with_a_key() -> None:
    with_key = SUBMITTED.model_copy(update={"by": "5f0c2d9a71be"})
    assert decode_message(recorded("tasks-with-key.json")) == [with_key]


def test_the_first_message_of_a_partition() -> None:
    assert decode_message(recorded("tasks-empty.json")) == []
    assert decode_commands(recorded("tasks-empty.json")) == []


EVENTS: list[Event | JobClosed] = [
    TaskStarted(JOB, 0, Version(0, 3, 6), 1),
    TaskSucceeded(JOB, 0, Version(0, 3, 7), 1, {"reserved": 17}),
    TaskFailed(JOB, 1, Version(0, 3, 8), 1, {"why": "☃"}),
    TaskRescued(JOB, 2, Version(0, 3, 9), 2, {"error": "ValueError: bad"}),
    TasksAborted(JOB, 3, Version(0, 3, 10), 97),
    JobClosed(JOB, Version(0, 3, 0), "incomplete_submission"),
]


TYPED = [replace(one, type="order") for one in EVENTS]


def test_every_kind_of_event_with_the_type_of_its_job() -> None:
    assert decode_events(recorded("events-typed.json")) == TYPED
    written = encode_events([encode_event(one) for one in TYPED])
    assert json_codec.decode(written) == json_codec.decode(recorded("events-typed.json"))


def test_every_kind_of_event() -> None:
    assert decode_events(recorded("events.json")) == EVENTS


def test_events_are_still_written_as_others_read_them() -> None:
    assert json_codec.decode(encode_events([encode_event(one) for one in EVENTS])) == json_codec.decode(
        recorded("events.json")
    )


ATTEMPTS: list[Event] = [
    TaskStarted(JOB, 0, Version(0, 3, 6), 2, type="order", began=1795460200.5, worker="shop-17"),
    TaskAttempted(
        JOB,
        0,
        Version(0, 3, 7),
        2,
        "infrastructure",
        "connection refused",
        1795460200.5,
        1795460201.25,
        1795460203.5,
        "shop-17",
        "http://127.0.0.1:9001",
        502,
        1,
        type="order",
    ),
    TaskSucceeded(JOB, 0, Version(0, 3, 8), 3, {"reserved": 17}, type="order", began=1795460203.5, worker="shop-18"),
]


def test_events_of_attempts() -> None:
    assert decode_events(recorded("events-attempts.json")) == ATTEMPTS
    written = encode_events([encode_event(one) for one in ATTEMPTS])
    assert json_codec.decode(written) == json_codec.decode(recorded("events-attempts.json"))


CALLS: list[Event] = [
    TaskSucceeded(
        JOB,
        0,
        Version(0, 3, 8),
        3,
        {"charged": 17},
        type="order",
        began=1795460203.5,
        worker="shop-18",
        call=CallReport("ok", "http://127.0.0.1:9001", 200, 1),
    ),
    TaskFailed(JOB, 1, Version(0, 3, 9), 3, {"error": "timeout"}, type="order", call=CallReport("timeout")),
]


def test_outcomes_with_how_the_last_call_ended() -> None:
    assert decode_events(recorded("events-calls.json")) == CALLS
    written = encode_events([encode_event(one) for one in CALLS])
    assert json_codec.decode(written) == json_codec.decode(recorded("events-calls.json"))


def test_the_record_of_a_lane_that_waits_for_an_attempt() -> None:
    text = recorded("record-attempts.json")
    record = LaneRecord(
        "3f11915cede90c57a7ac02e1d7aaf1f3",
        1042,
        seq=7,
        adopted=True,
        due=1795460203.5,
        attempts={"0": Attempts(3, 1795460199.0, 1795460203.5, 2, 1795460201.25)},
    )
    assert LaneRecord.decode(text) == record
    assert json_codec.decode(record.encode()) == json_codec.decode(text)


def test_a_command() -> None:
    assert decode_commands(recorded("control.json")) == [
        CloseJob(job=JOB, run=0, n_slices=4, strategy=Strategy.SEQUENTIAL, reason="incomplete_submission")
    ]


def test_a_command_that_names_the_type_of_the_job() -> None:
    assert decode_commands(recorded("control-typed.json")) == [
        CloseJob(job=JOB, run=0, n_slices=4, strategy=Strategy.SEQUENTIAL, reason="incomplete_submission", type="order")
    ]


def test_a_dead_letter() -> None:
    class Record:
        partition, offset, timestamp, value = 1, 5, 1_795_460_200_500, recorded("dead-letter.json")

    reason = "expected value at line 1 column 1"
    assert Letter.read(Record()) == Letter(
        "1:5", 1_795_460_200_500, reason, "jabba-tasks", 3, 42, size=8, value=b"not json"
    )


def test_the_record_of_a_live_lane() -> None:
    text = recorded("record-lane.json")
    assert not is_marker(text)
    assert LaneRecord.decode(text) == LaneRecord(
        "3f11915cede90c57a7ac02e1d7aaf1f3",
        1042,
        seq=9,
        done=0b101,
        failed=True,
        outcomes=(encode_event(TaskSucceeded(JOB, 2, Version(0, 3, 9), 1, {"reserved": 17})),),
        large=("0:3.4",),
        adopted=True,
        due=1795460200.5,
        turn=True,
        suspects={"3": 2},
    )


@pytest.mark.parametrize("name", ["record-marker.json", "record-marker-short.json"])
def test_the_marker_of_an_ended_lane(name: str) -> None:
    text = recorded(name)
    assert is_marker(text)
    marker = LaneRecord("3f11915cede90c57a7ac02e1d7aaf1f3", 1042, seq=9, failed=True, ended=1795460300.25)
    assert LaneRecord.decode(text) == marker


def test_the_record_of_a_job() -> None:
    assert JobRecord.decode(recorded("record-job.json")) == JobRecord(4, next=2, failed=True)


def test_the_claim_of_an_owner() -> None:
    assert Claim.decode(recorded("record-claim.json")) == Claim(1795460200.5, crashes=2)


def test_the_parting_of_an_owner() -> None:
    assert Parting.decode(recorded("record-clean.json")) == Parting(clean=True)
    assert Parting.decode(recorded("record-clean-finishing.json")) == Parting(finishing=5.5)


@pytest.mark.parametrize("key", ["lane/01a209b3-0fbd-7764-ab25-cc8851dd49f4/0/2"])
def test_the_keys_of_the_changelog(key: str) -> None:
    assert LaneName.parse(key) == LaneName(JOB, 0, 2)
    assert LaneName(JOB, 0, 2).key == key
    folded = Folded()
    folded.absorb(f"{key}/3.1".encode(), b"value")
    assert (folded.values, folded.stamps) == ({key: b"value"}, {key: Stamp(3, 1)})


def test_every_recorded_message_is_read_by_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in MESSAGES.iterdir() if f'"{path.name}"' not in source] == []
