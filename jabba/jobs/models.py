"""What a job is: the submission a caller makes, and the jobs and tasks that Jabba answers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from jabba.errors import FieldError, InvalidRequest, LimitExceeded
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import STATUS_AFTER, JobStatus, Strategy, TaskStatus
from jabba.jobs.retry import Retry, Seconds

Meta = dict[str, JsonValue]
ShortText = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]

_STRATEGIES = {
    "sequential": Strategy.SEQUENTIAL,
    "sequentially": Strategy.SEQUENTIAL,
    "concurrent": Strategy.CONCURRENT,
    "concurrently": Strategy.CONCURRENT,
}


MOST_TASK_ARGS_BYTES = 3 * 1024 * 1024
MOST_META_BYTES = 256 * 1024
MOST_REQUEST_BYTES = 256 * 1024 * 1024
MOST_RESULT_BYTES = 3 * 1024 * 1024
"""No limit may be higher: a slice of one task with its args and both metas, and an event with its result, each have to
fit into one message."""

_MOST = {
    "task_args_bytes": MOST_TASK_ARGS_BYTES,
    "meta_bytes": MOST_META_BYTES,
    "request_bytes": MOST_REQUEST_BYTES,
    "result_bytes": MOST_RESULT_BYTES,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a request and a result may be; sizes are bytes of JSON.

    ``Limits(task_args_bytes=2 * 1024 * 1024)``, for ``jabba.Producer`` and ``jabba.outbox``; the web and the workers
    have theirs from their settings, ``JABBA_TASK_ARGS_BYTES`` and so on.

    Args:
        task_args_bytes: of one task's args; 3 MiB at most.
        meta_bytes: of a job's or a task's meta; 256 KiB at most.
        tasks_per_job: how many tasks a job may have.
        request_bytes: of one HTTP request; 256 MiB at most.
        result_bytes: of one task's result; 3 MiB at most.

    Raises:
        ValueError: one is below 1, or higher than Kafka's messages are large.
    """

    task_args_bytes: int = 1024 * 1024
    meta_bytes: int = 64 * 1024
    tasks_per_job: int = 100_000
    request_bytes: int = 16 * 1024 * 1024
    result_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from 1 to {most:,}")
        if self.tasks_per_job < 1:
            raise ValueError("tasks_per_job must be at least 1")


LOCAL = "local"
"""The service that is the worker itself."""


class Callback(BaseModel):
    """The function to invoke; ``service`` is ``local``, the worker itself, or one of the services file."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    service: ShortText
    module: ShortText
    function: ShortText
    args: list[JsonValue] = Field(default_factory=list)


class TaskSpec(BaseModel):
    """A task as it is submitted.

    ``timeout`` bounds one attempt, in seconds. A task whose first attempt has not begun ``expires`` seconds after the
    submission fails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    callback: Callback
    name: ShortText | None = None
    meta: Meta = Field(default_factory=dict)
    retry: Retry | None = None
    timeout: Seconds | None = None
    expires: Seconds | None = None


def _named_strategy(value: Any) -> Any:
    return _STRATEGIES.get(value.lower(), value) if isinstance(value, str) else value


class JobSpec(BaseModel):
    """A job as it is submitted; ``id`` is a UUIDv7 made by the submitter, so that a repeat is recognised.

    ``retry`` holds for tasks without a policy of their own. No attempt begins ``deadline`` seconds after the
    submission.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    tasks: list[TaskSpec] = Field(min_length=1)
    type: ShortText
    strategy: Annotated[Strategy, BeforeValidator(_named_strategy)] = Strategy.SEQUENTIAL
    meta: Meta = Field(default_factory=dict)
    name: ShortText | None = None
    id: UUID | None = None
    retry: Retry | None = None
    deadline: Seconds | None = None

    @classmethod
    def parse(cls, document: Any, limits: Limits) -> Self:
        """Read a submission, with the short forms that the HTTP and Python interfaces allow.

        ``tasks`` may be a single task, and a task may be a bare callback ``[service, module, function, args]``. What
        is no JSON becomes what ``encode_document`` makes of it.

        Raises:
            InvalidRequest: names every wrong field.
            LimitExceeded: there are more tasks than the limit.
        """
        canonical = _canonical(document)
        _refuse_too_many(canonical, limits)
        try:
            return cls.model_validate(canonical)
        except ValidationError:
            # Most come as JSON, and need not be written for that once more.
            text = encode_document(document)
        try:
            return cls.model_validate(json_codec.decode(text))
        except ValidationError as error:
            raise invalid(error) from error


def encode_document(document: Any) -> bytes:
    """Encode a submission as it is sent: dates and UUIDs as texts, tuples and sets as lists, keys as texts.

    Raises:
        InvalidRequest: something in it has no JSON form, or two keys of a map become the same text; names the field.
    """
    text = json_codec.encode(_canonical(document))
    if (key := json_codec.merged_key(text)) is not None:
        raise InvalidRequest(f"two keys of one map both become {key!r} in JSON")
    return text


def invalid(error: ValidationError) -> InvalidRequest:
    """Turn pydantic's report into the error that names every wrong field."""
    found = error.errors(include_url=False)
    fields = [FieldError(field_path(one["loc"]), _IN_JSON.get(one["type"], one["msg"])) for one in found]
    if len(fields) == 1:
        return InvalidRequest.at(fields[0].field, fields[0].message)
    return InvalidRequest(f"{len(fields)} invalid fields", fields)


_IN_JSON = {
    "dict_type": "Input should be an object",
    "model_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
    "list_type": "Input should be a list",
    "bool_type": "Input should be true or false",
    "none_required": "Input should be null",
}
"""What pydantic says in Python's words."""


def explained(error: ValueError) -> str:
    """Say in one line what is wrong with a message that could not be read."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{one.field}: {one.message}" if one.field else one.message for one in invalid(error).fields)


def field_path(location: tuple[int | str, ...]) -> str:
    """Write a location as a path: ``("tasks", 3, "name")`` is ``tasks[3].name``."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step not in _UNION_BRANCHES:
            path += f".{step}" if path else step
    return path


# Pydantic adds the branches of JsonValue's union to a location; callers know no such field.
_UNION_BRANCHES = frozenset({"list[json-or-python]", "dict[str,json-or-python]", "json-or-python"})


def _canonical(document: Any) -> Any:
    if not isinstance(document, dict) or "tasks" not in document:
        return document
    tasks = document["tasks"]
    listed = [tasks] if isinstance(tasks, dict | BaseModel) or _is_bare_callback(tasks) else tasks
    if isinstance(listed, list | tuple):
        listed = [_canonical_task(task) for task in listed]
    return {**document, "tasks": listed}


def _canonical_task(task: Any) -> Any:
    if isinstance(task, Callback):
        return {"callback": task}
    if isinstance(task, dict) and _is_bare_callback(task.get("callback")):
        return {**task, "callback": _named_callback(task["callback"])}
    return {"callback": _named_callback(task)} if _is_bare_callback(task) else task


def _is_bare_callback(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) not in (3, 4):
        return False
    return all(isinstance(part, str) for part in value[:3]) and all(isinstance(a, list | tuple) for a in value[3:])


def _named_callback(value: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    service, module, function, *args = value
    return {"service": service, "module": module, "function": function, "args": list(*args)}


def _refuse_too_many(document: Any, limits: Limits) -> None:
    tasks = document.get("tasks") if isinstance(document, dict) else None
    if isinstance(tasks, list) and len(tasks) > limits.tasks_per_job:
        message = f"{len(tasks):,} tasks, and the limit is {limits.tasks_per_job:,}"
        raise LimitExceeded(message, [FieldError("tasks", message)])


class Job(BaseModel):
    """A job as it is answered; times are UTC.

    ``reason`` says why a job was ended from outside: ``incomplete_submission`` when not all of its tasks ever came.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: str | None
    type: str
    status: JobStatus
    strategy: Strategy
    meta: Meta
    callback: Callback | None = None
    run_at: datetime | None = None
    reason: str | None = None
    ended_at: datetime | None
    inserted_at: datetime
    updated_at: datetime


class Progress(BaseModel):
    """How far a job has come: its tasks, those that have ended, and those among them that did not succeed."""

    model_config = ConfigDict(frozen=True)

    total: int
    ended: int
    unsuccessful: int


class Task(BaseModel):
    """A task as it is answered; ``priority`` is 1…n in a sequential job and 0 in a concurrent one."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    job_id: UUID
    name: str | None
    callback: Callback
    priority: int
    status: TaskStatus
    result: JsonValue
    meta: Meta
    attempt: int
    began_at: datetime | None = None
    worker: str | None = None
    ended_at: datetime | None
    inserted_at: datetime
    updated_at: datetime


class Attempt(BaseModel):
    """One call of a task's callback.

    ``outcome`` is ``ok``, ``error``, ``raised``, ``infrastructure`` or ``timeout``; null while it runs. ``error`` is a
    sentence, ``waits`` how often the attempt was postponed before it began, ``next_at`` when the next one may begin.
    ``worker`` is the process that called, ``address`` and ``status_code`` are those of the service.
    """

    model_config = ConfigDict(frozen=True)

    attempt: int
    run: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    error: str | None = None
    status_code: int | None = None
    worker: str | None = None
    address: str | None = None
    waits: int = 0
    next_at: datetime | None = None


class TaskDetails(Task):
    """A task with the history of its attempts, the first one first."""

    attempts: list[Attempt]


class AuditEntry(BaseModel):
    """Who changed what, and when.

    It was done with a key (``key_id``, ``key_name``) or, at the database, by a user of the operating system
    (``user_name``); to a job or to the key ``about_key``. ``action`` is ``submit``, ``create_key`` or ``revoke_key``.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    action: str
    key_id: str | None
    key_name: str | None
    user_name: str | None
    job_id: UUID | None
    about_key: str | None


class JobEvent(BaseModel):
    """An event as live streams tell it; ``docs/protocol.md`` has its fields.

    ``type`` is the job's. ``index`` counts the tasks of the job from 0, and an event that is about several has their
    ``count``. The highest ``(run, epoch, seq)`` that is told of a task wins. ``final`` is the job, in ``job_ended``.
    """

    model_config = ConfigDict(frozen=True)

    event: str
    job: UUID
    type: str | None = None
    run: int = 0
    epoch: int = 0
    seq: int = 0
    index: int | None = None
    count: int | None = None
    task: UUID | None = None
    attempt: int | None = None
    result: JsonValue = None
    reason: str | None = None
    final: Job | None = None

    @property
    def status(self) -> TaskStatus | None:
        """Where the task stands now; None of an event that is about no task."""
        return STATUS_AFTER.get(self.event)
