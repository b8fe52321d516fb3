import json
from typing import Any
from uuid import UUID

import pytest

from jabba.jobs import ids
from jabba.jobs.lifecycle import JobClosed, TaskFailed, TasksAborted, TaskStarted, Version
from jabba.kafka.reader import LogMessage
from jabba.messages.events import KINDS, event_as_json
from jabba.search import EVENTS, parse_conditions
from web.streams.stream_events import EventFilter, StreamEvent, happenings

JOB = UUID("01a209b3-0fbd-7764-ab25-cc8851dd49f4")
VERSION = Version(0, 3, 7)
FAILED = event_as_json(TaskFailed(JOB, 2, VERSION, 2, {"why": {"code": 7}, "tags": ["a"]}, type="order"))
STARTED = event_as_json(TaskStarted(JOB, 2, VERSION, type="order"))
ABORTED = event_as_json(TasksAborted(JOB, 3, VERSION, 97))
CLOSED = event_as_json(JobClosed(JOB, VERSION, "incomplete_submission", type="order"))


def happening(document: dict[str, Any]) -> StreamEvent:
    (found,) = happenings(LogMessage(0, 0, json.dumps([document]).encode()))
    return found


def meets(document: dict[str, Any], query: str) -> bool:
    return happening(document).meets(EventFilter(query, parse_conditions(None, query, EVENTS)))


@pytest.mark.parametrize(
    "document, query",
    [
        (FAILED, "event:task_failed status:FAILED type:order index:2 attempt:2 run:0 epoch:3 seq:7"),
        (FAILED, f"job_id:{JOB} task_id:{ids.task_id(JOB, 2)}"),
        (FAILED, "type:ord* result.why.code>6"),
        (STARTED, "status:CONSUMED result:null"),
        (ABORTED, "status:ABORTED count:97 index>2 type:null task_id:null"),
        (CLOSED, "event:job_closed reason:incomplete_submission status:null index:null"),
    ],
)
def test_an_event_has_these_fields(document: dict[str, Any], query: str) -> None:
    assert meets(document, query)
    assert not meets(document, f"-({query})")


def test_a_filter_knows_all_that_an_event_may_say() -> None:
    said = {name for document in (FAILED, STARTED, ABORTED, CLOSED) for name in document}
    renamed = {"job": "job_id", "task": "task_id"}
    assert {renamed.get(name, name) for name in said - {"v"}} | {"status"} == set(EVENTS.fields)
    assert set(EVENTS.fields["event"].choices) == KINDS


@pytest.mark.parametrize("name, value", [("index", "2"), ("index", True), ("type", 7), ("task", 7), ("task", "x")])
def test_a_field_that_holds_what_it_should_not_holds_nothing(name: str, value: Any) -> None:
    field = "task_id" if name == "task" else name
    assert meets(FAILED | {name: value}, f"{field}:null")
    assert meets(FAILED, f"-{field}:null")
