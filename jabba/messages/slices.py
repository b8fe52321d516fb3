"""Slices: the runs of a job's tasks that travel together, and how a submission is cut into them."""

import hashlib
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from jabba.errors import FieldError, LimitExceeded
from jabba.jobs import ids, json_codec
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import LOCAL, JobSpec, Limits, Meta, ShortText, TaskSpec
from jabba.jobs.retry import Retry

MAX_TASKS = 100
MAX_BYTES = 512 * 1024
"""A slice is closed before it grows past these; a task larger than that travels alone."""


class Slice(BaseModel):
    """Tasks ``first`` … ``first + len(tasks) - 1`` of a job of ``total`` tasks, as the tasks topic carries them.

    ``done`` holds the indices, in the job, of tasks of this slice that ended in an earlier run, so that a lane passes
    over them; ``failed`` says that one before or among them was unsuccessful. Slice 0 brings the job's name and
    meta, and ``by``, the id of the key with which it was submitted; others bring the meta if a task of theirs is a call
    of another service.
    ``deadline`` is in seconds since the epoch. A job that was ``relayed`` from an outbox may have been added to it long
    ago, and have an id of that time.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1
    job: UUID
    run: int = Field(default=0, ge=0)
    k: int = Field(ge=0)
    n_slices: int = Field(ge=1)
    first: int = Field(ge=0)
    total: int = Field(ge=1)
    digest: str
    strategy: Strategy
    type: str
    name: str | None = None
    meta: Meta = Field(default_factory=dict)
    by: ShortText | None = None
    tasks: list[TaskSpec] = Field(min_length=1)
    done: list[int] = Field(default_factory=list)
    failed: bool = False
    relayed: bool = False
    retry: Retry | None = None
    deadline: float | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        """Refuse what no lane could run, before one tries for ever."""
        end = self.first + len(self.tasks)
        if self.k >= self.n_slices:
            raise ValueError(f"k is {self.k}, but there are {self.n_slices} slices")
        if end > self.total:
            raise ValueError(f"its tasks reach to {end}, but the job has {self.total}")
        if self.done and not (self.first <= min(self.done) and max(self.done) < end):
            raise ValueError(f"done has tasks that are not of this slice, {self.first} to {end - 1}")
        return self

    @property
    def key(self) -> str:
        """Return the partition key: the job's id keeps a sequential job in one partition, the slice's id spreads."""
        return partition_key(self.strategy, self.job, self.run, self.k)


class EncodedSlice(NamedTuple):
    """A slice as bytes, with the key that chooses its partition and the digest of its submission."""

    key: str
    text: bytes
    digest: str


class Rerun(NamedTuple):
    """What is known of a job that is submitted again after a broker forgot it.

    ``digest`` is the one of its first submission, ``ended`` holds the indices of tasks that ended in earlier runs, and
    ``failed_at`` the first one that was unsuccessful.
    """

    run: int
    digest: str
    ended: frozenset[int] = frozenset()
    failed_at: int | None = None


_SLICES = TypeAdapter(list[Slice])


def decode_message(text: bytes) -> list[Slice]:
    """Read a message of the tasks topic: a JSON list of slices, empty in the first message of a partition.

    Raises:
        ValueError: it is none; the message says where.
    """
    return _SLICES.validate_json(text)


def decode_slice(text: bytes) -> Slice:
    """Read one slice of a message.

    Raises:
        ValueError: it is none; the message says where.
    """
    return Slice.model_validate_json(text)


def encode_message(slices: list[bytes]) -> bytes:
    """Join encoded slices of one partition into one message."""
    return b"[" + b",".join(slices) + b"]"


def partition_key(strategy: Strategy, job: UUID, run: int, k: int) -> str:
    """Return the key whose hash chooses the partition of slice ``k``."""
    return str(job) if strategy is Strategy.SEQUENTIAL else f"{job}/{run}/{k}"


def cut(
    spec: JobSpec,
    job: UUID,
    limits: Limits,
    rerun: Rerun | None = None,
    *,
    relayed: bool = False,
    by: str | None = None,
) -> list[EncodedSlice]:
    """Cut a submission into encoded slices; the same submission is always cut alike.

    The slices of a rerun say which tasks have ended. All are there, so that a sequential job passes its turn on.
    Whoever relays a job makes sure that it is accepted once, however old its id is.

    Raises:
        InvalidRequest: an argument or meta cannot be stored as JSON, or is too deep.
        LimitExceeded: an argument or meta is larger than its limit.
    """
    meta = _bounded("meta", json_codec.encode(spec.meta, "meta"), limits.meta_bytes)
    json_codec.refuse_deep(spec.meta, "meta", meta)
    tasks = [_encoded_task(number, task, limits) for number, task in enumerate(spec.tasks)]
    digest, run = (rerun.digest, rerun.run) if rerun else (_digest(spec, meta, tasks), 0)
    parts = list(_runs(tasks))
    common = {"v": 1, "job": job, "n_slices": len(parts), "total": len(tasks), "digest": digest}
    common |= {"strategy": spec.strategy, "type": spec.type} | ({"relayed": True} if relayed else {})
    if spec.retry is not None:
        common["retry"] = spec.retry.model_dump(exclude_none=True)
    if spec.deadline is not None:
        common["deadline"] = ids.job_seconds(job) + spec.deadline
    first = {"name": spec.name, "meta": spec.meta} | ({} if by is None else {"by": by})
    heads = (
        _head(common | {"k": k, "first": part.start} | _meta(spec, part) | _known(part, rerun), first)
        for k, part in enumerate(parts)
    )
    return [
        EncodedSlice(
            partition_key(spec.strategy, job, run, k), head + b",".join(tasks[part.start : part.stop]) + b"]}", digest
        )
        for k, (head, part) in enumerate(zip(heads, parts, strict=True))
    ]


def _meta(spec: JobSpec, part: range) -> dict[str, Any]:
    """Return the job's meta if a task of this part is of another service, whose calls have it."""
    if spec.meta and any(spec.tasks[index].callback.service != LOCAL for index in part):
        return {"meta": spec.meta}
    return {}


def _known(part: range, rerun: Rerun | None) -> dict[str, Any]:
    if rerun is None:
        return {}
    failed = rerun.failed_at is not None and rerun.failed_at < part.stop
    return {"run": rerun.run, "done": [index for index in part if index in rerun.ended], "failed": failed}


def _encoded_task(number: int, task: TaskSpec, limits: Limits) -> bytes:
    path = f"tasks[{number}]"
    text = json_codec.encode_model(task, path)
    json_codec.refuse_deep(task.callback.args, f"{path}.callback.args", text)
    json_codec.refuse_deep(task.meta, f"{path}.meta", text)
    if len(text) > limits.task_args_bytes:
        args = json_codec.encode(task.callback.args, f"{path}.callback.args")
        _bounded(f"{path}.callback.args", args, limits.task_args_bytes)
    if len(text) > limits.meta_bytes and task.meta:
        _bounded(f"{path}.meta", json_codec.encode(task.meta, f"{path}.meta"), limits.meta_bytes)
    return text


def _bounded(path: str, text: bytes, limit: int) -> bytes:
    if len(text) > limit:
        message = f"{len(text):,} bytes of JSON, and the limit is {limit:,}"
        raise LimitExceeded(f"{path}: {message}", [FieldError(path, message)])
    return text


def _digest(spec: JobSpec, meta: bytes, tasks: list[bytes]) -> str:
    head: list[Any] = [spec.type, spec.name, spec.strategy]
    if spec.retry is not None or spec.deadline is not None:
        # Digests of jobs without them stay as they were recorded.
        head += [spec.retry, spec.deadline]
    digest = hashlib.sha256(json_codec.encode(head))
    for part in (meta, *tasks):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()[:32]


def _runs(tasks: list[bytes]) -> Iterator[range]:
    start = size = 0
    for number, task in enumerate(tasks):
        if number > start and (number - start >= MAX_TASKS or size + len(task) > MAX_BYTES):
            yield range(start, number)
            start, size = number, 0
        size += len(task) + 1
    yield range(start, len(tasks))


def _head(head: dict[str, Any], first: dict[str, Any]) -> bytes:
    if head["k"] == 0:
        head |= first
    return json_codec.encode(head)[:-1] + b',"tasks":['
