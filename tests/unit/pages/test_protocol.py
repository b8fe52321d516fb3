"""``docs/protocol.md`` tells of every field that stands in Kafka, and of none that does not."""

import json
import re
from pathlib import Path
from uuid import UUID

from jabba.engine.records import Claim, JobRecord, LaneRecord, Parting
from jabba.jobs.ids import new_job_id
from jabba.jobs.lifecycle import (
    TASK_TRANSITIONS,
    CallReport,
    Event,
    JobClosed,
    JobStatus,
    TaskAttempted,
    TaskDue,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskSucceeded,
    Version,
)
from jabba.kafka.dead_letters import dead_letter
from jabba.messages import events
from jabba.messages.commands import CloseJob
from jabba.messages.events import event_as_json
from jabba.messages.slices import Slice
from jabba.search import EVENTS, JOBS_OF_EVENTS

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
JOB: UUID = new_job_id(1_700_000_000)
VERSION = Version(0, 1, 2)
SENT: list[Event | JobClosed] = [
    TaskStarted(JOB, 0, VERSION, type="order", began=1.0, worker="w"),
    TaskAttempted(JOB, 0, VERSION, type="order", worker="w", address="http://a", status_code=503),
    TaskSucceeded(JOB, 0, VERSION, result={}, type="order", began=1.0, worker="w", call=CallReport("ok")),
    TaskFailed(JOB, 0, VERSION, result={}, type="order", began=1.0, worker="w", call=CallReport("timeout")),
    TaskRescued(JOB, 0, VERSION, result={}, type="order", began=1.0, worker="w", call=CallReport("raised")),
    TasksAborted(JOB, 0, VERSION, type="order"),
    JobClosed(JOB, VERSION, "why", type="order"),
]


def rows(table: str) -> list[list[str]]:
    """Return the cells of the table that follows a comment with this name."""
    text = PAGE.partition(f"<!-- {table} -->\n")[2].partition("\n\n")[0]
    assert text, f"there is no table {table!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def fields(table: str) -> set[str]:
    return {row[0].strip("`") for row in rows(table)}


def status_after(event: Event | JobClosed) -> str:
    return f"the job: {JobStatus.FAILED}" if isinstance(event, JobClosed) else TASK_TRANSITIONS[type(event)].target


def test_every_event_is_told_with_its_fields_and_status() -> None:
    told = {name.strip("`"): (set(re.findall(r"`(\w+)`", carried)), status) for name, carried, status in rows("events")}

    assert told == {event.kind: (set(event_as_json(event)), status_after(event)) for event in SENT}


def test_every_kind_of_event_is_told() -> None:
    assert {event.kind for event in SENT} == {*events._SENT, JobClosed.kind}


def test_every_event_of_the_lifecycle_is_sent_or_derived() -> None:
    assert {type(event) for event in SENT} | {TaskDue} == {*TASK_TRANSITIONS, JobClosed}


def test_every_field_of_a_slice_is_told() -> None:
    assert fields("slice") == set(Slice.model_fields)


def test_every_field_of_a_command_is_told() -> None:
    assert fields("close_job") == set(CloseJob.model_fields)


def test_every_field_of_the_records_is_told() -> None:
    assert fields("lane") == set(json.loads(LaneRecord("digest", 7).encode()))
    of_a_marker = [row[0].strip("`") for row in rows("lane")[:6]]
    assert set(of_a_marker) == set(json.loads(LaneRecord("digest", 7).marker(1.0).encode()))
    assert fields("job") == set(json.loads(JobRecord(3).encode()))
    assert fields("parting") == set(json.loads(Parting().encode()))
    assert fields("claim") == set(json.loads(Claim(1.0).encode()))


def test_every_field_of_a_dead_letter_is_told() -> None:
    assert fields("dead letter") == set(json.loads(dead_letter("jabba-tasks", 0, 1, b"?", "no JSON")))


def test_every_field_that_filters_of_live_streams_may_name_is_told() -> None:
    of_events = re.findall(r"on these fields:\n(.*?)\. What an event", PAGE, flags=re.DOTALL)[0]
    of_jobs = re.findall(r"Under `job` there are (.*?):", PAGE, flags=re.DOTALL)[0]
    assert re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", of_events, flags=re.DOTALL)) == list(EVENTS.fields)
    assert re.findall(r"`(\w+)`", of_jobs) == list(JOBS_OF_EVENTS.fields)
