"""Messages are read item by item when they have to be: the neighbours of a faulty one are not at fault."""

import json
from typing import Any

import pytest

from jabba.jobs.lifecycle import TaskStarted, TaskSucceeded
from jabba.messages.events import encode_event, encode_events
from jabba.messages.slices import encode_message
from jabba.projection.decode import Intake, Message, Place
from tests.support.projecting import NOW, job_spec, new_job, slices_of, version


def message(value: bytes | None, topic: str = "jabba-events") -> Message:
    return Message(Place(topic, 3, 17), NOW, value)


def read_events(value: bytes | None) -> Intake:
    intake = Intake()
    intake.read_events(message(value))
    return intake


def read_slices(value: bytes | None) -> Intake:
    intake = Intake()
    intake.read_slices(message(value))
    return intake


def test_a_message_becomes_facts_of_its_time() -> None:
    events = [TaskStarted(new_job(), index, version(index)) for index in range(3)]
    read = read_events(encode_events([encode_event(event) for event in events]))

    assert [(item.fact.content, item.fact.at) for item in read.items] == [(event, NOW) for event in events]
    assert read.items[0].message.place == ("jabba-events", 3, 17)
    assert read.faults == []


def test_an_empty_list_is_no_fault() -> None:
    assert (read_slices(b"[]").items, read_slices(b"[]").faults) == ([], [])


@pytest.mark.parametrize("value", [None, b"", b"{}", b"null", b"[", b"\xff", b'"text"', b"[" * 10_000])
def test_what_is_no_list_is_one_fault(value: bytes | None) -> None:
    for read in (read_events(value), read_slices(value)):
        assert read.items == []
        (fault,) = read.faults
        assert fault.reason.startswith("cannot be decoded: ")
        assert fault.message.value == value


def test_the_neighbours_of_a_faulty_event_are_read() -> None:
    events = [TaskStarted(new_job(), index, version(index)) for index in range(2)]
    first, last = (encode_event(event) for event in events)
    unknown = first.replace(b"task_started", b"task_levitated")

    read = read_events(encode_events([first, unknown, b"7", last]))

    assert [item.fact.content for item in read.items] == events
    assert [fault.reason.partition(":")[0] for fault in read.faults] == [
        "item 1 of 4 cannot be decoded",
        "item 2 of 4 cannot be decoded",
    ]


@pytest.mark.parametrize("result", [b"NaN", b"[" * 250 + b"]" * 250, b"9" * 4301, b'"\\ud800"', b'{"a" 1}'])
def test_the_neighbours_of_an_event_that_is_no_json_are_read(result: bytes) -> None:
    events = [TaskSucceeded(new_job(), index, version(index), 1, {"]": '["'}) for index in range(2)]
    first, last = (encode_event(event) for event in events)
    faulty = encode_event(TaskSucceeded(new_job(), 0, version(0), 1, 7)).replace(b":7}", b":" + result + b"}")

    read = read_events(encode_events([first, faulty, last]))

    assert [item.fact.content for item in read.items] == events
    assert [fault.reason.partition(":")[0] for fault in read.faults] == ["item 1 of 3 cannot be decoded"]


def test_the_neighbours_of_a_faulty_slice_are_read_and_its_wrong_fields_named() -> None:
    encoded = [slice_.model_dump_json().encode() for slice_ in (*slices_of(new_job(), job_spec(1)),) * 2]
    broken: dict[str, Any] = json.loads(encoded[0])
    broken["tasks"][0]["callback"]["module"] = 7
    broken["total"] = 0

    read = read_slices(encode_message([encoded[0], json.dumps(broken).encode(), encoded[1]]))

    assert [item.fact.content.model_dump_json().encode() for item in read.items] == encoded  # type: ignore[union-attr]
    (fault,) = read.faults
    assert fault.reason.startswith("item 1 of 3 cannot be decoded: total: ")
    assert "tasks[0].callback.module: " in fault.reason


def test_a_slice_with_fields_of_a_newer_version_is_read() -> None:
    (slice_,) = slices_of(new_job(), job_spec(1))
    newer = json.loads(slice_.model_dump_json()) | {"colour": "red"}

    assert len(read_slices(json.dumps([newer]).encode()).items) == 1
