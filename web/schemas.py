"""The forms of requests and answers that no model of the library has: for the documentation, made by Pydantic."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from jabba.database.statistics import Oldest, Recent
from jabba.errors import request_errors
from jabba.jobs.lifecycle import JobStatus
from jabba.jobs.models import Callback, Job, Meta, ShortText
from jabba.jobs.pages import Count
from jabba.jobs.retry import Retry, Seconds
from jabba.kafka.lag import Waiting
from jabba.search import MAX_LIMIT, MAX_OFFSET

Content = TypeVar("Content")
Item = TypeVar("Item")

Id = UUID
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
JobId = Annotated[str, Field(pattern="^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
Offset = Annotated[int, Field(ge=0, le=MAX_OFFSET)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
_MARK = r"[0-9]{1,9}:[0-9]{1,18}(\.[0-9]{1,9})?"
MarkText = Annotated[str, Field(pattern=rf"^{_MARK}(,{_MARK})*$")]
PositionText = Annotated[str, Field(pattern=r"^[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*$")]
_LIMIT = r"([1-9][0-9]{0,2}|1000)"
CursorText = Annotated[str, Field(pattern=rf"^([0-9]{{1,9}},{_LIMIT}|[A-Za-z0-9_-]{{24,}}(,{_LIMIT})?)$")]

BareCallback = tuple[ShortText, ShortText, ShortText] | tuple[ShortText, ShortText, ShortText, list[JsonValue]]
"""``[service, module, function]`` or ``[service, module, function, args]``."""


class TaskForm(BaseModel):
    """A task as it is submitted."""

    model_config = ConfigDict(extra="forbid")

    callback: Callback | BareCallback
    name: ShortText | None = None
    meta: Meta = Field(default_factory=dict)
    retry: Retry | None = Field(default=None, description="Goes before the job's policy, field by field.")
    timeout: Seconds | None = Field(default=None, description="Seconds that one attempt may take.")
    expires: Seconds | None = Field(
        default=None, description="Seconds after the submission within which the first attempt must begin."
    )


Task = TaskForm | BareCallback


class Submission(BaseModel):
    """A job as it is submitted.

    `tasks` is a list of tasks or a single one, and a task may be a bare callback. `id` is a UUIDv7 of this moment (±5
    minutes), so that the same submission sent again is recognised.
    """

    model_config = ConfigDict(extra="forbid")

    tasks: Annotated[list[Task], Field(min_length=1)] | Task
    type: ShortText
    strategy: Literal["sequential", "concurrent", "SEQUENTIALLY", "CONCURRENTLY"] = "sequential"
    meta: Meta = Field(default_factory=dict)
    name: ShortText | None = None
    id: JobId | None = None
    retry: Retry | None = Field(default=None, description="The retry policy of the job's tasks.")
    deadline: Seconds | None = Field(
        default=None, description="Seconds after the submission from which on no attempt begins."
    )


class Accepted(Job):
    """A job as it was accepted; with its position, `GET …?after=POSITION` waits until PostgreSQL has all of it."""

    position: str


class WrongField(BaseModel):
    """One mistake in a request; `field` is a path such as `tasks[3].callback.module`."""

    field: str
    message: str


class Refusal(BaseModel):
    """Why a request was refused; `type` is a stable word for programs."""

    type: Annotated[str, Field(json_schema_extra={"enum": list(request_errors())})]
    message: str
    fields: list[WrongField]


class Error(BaseModel):
    """The form of every error."""

    error: Refusal


class AcceptedLine(BaseModel):
    """The job of a line was accepted."""

    line: int
    data: Accepted


class RefusedLine(BaseModel):
    """The job of a line was refused; with the type `unavailable` it may be sent again, with the same id."""

    line: int
    error: Refusal


BulkResult = AcceptedLine | RefusedLine


class Data(BaseModel, Generic[Content]):
    """The form of every answer."""

    data: Content


class Paged(Data[list[Item]], Generic[Item]):
    """A page of a list."""

    next: str | None = Field(description="The cursor of the page behind this one; null when there is none.")
    count: Count | None = Field(
        None, description="How many there are on all pages, if that was asked for: estimated from 10,001 on."
    )


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"]


class ReadyToSubmit(BaseModel):
    """Kafka is there."""

    kafka: Literal["ok"]


class Ready(BaseModel):
    """Both are there."""

    kafka: Literal["ok"]
    database: Literal["ok"]


class StatsOfJobs(BaseModel):
    """Jobs: how many there are of each status, those that have not ended, and the one that has not for longest.

    Many are not counted one by one: where `exact` is false, it is what PostgreSQL estimates.
    """

    by_status: dict[JobStatus, Count]
    unfinished: Count
    oldest_unfinished: Oldest | None


class Missing(BaseModel):
    """A part that cannot be told now, and why."""

    part: str
    reason: str


class Stats(BaseModel):
    """How it goes, at a look; at most a second old.

    `jobs` and `recent` are as far as PostgreSQL has come. `projection` is what waits for PostgreSQL, by topic;
    `workers` what waits in the tasks topic until a worker is done with it. A part that cannot be told is null, and
    stands in `missing`.
    """

    at: datetime
    jobs: StatsOfJobs | None = None
    recent: Recent | None = None
    projection: dict[Literal["tasks", "events"], Waiting] | None = None
    workers: Waiting | None = None
    dead_letters: int | None = None
    missing: list[Missing] = Field(default_factory=list)


Document = dict[str, JsonValue]
"""An object of which nothing more is said here."""
