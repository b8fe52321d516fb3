"""A submission: checked and cut by its submitter, then acknowledged by Kafka, or not."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from jabba.callbacks.services import unknown_service
from jabba.errors import FieldError, InvalidRequest, RequestError
from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, Strategy
from jabba.jobs.models import Callback, Job, JobSpec, Limits, TaskSpec
from jabba.messages import slices
from jabba.messages.positions import write_position
from jabba.search.errors import parse_error_filter

BareCallback = tuple[str, str, str] | tuple[str, str, str, Sequence[Any]] | list[Any]
"""``(service, module, function, args)``, as a tuple or a list; without args there are none."""

TaskForm = TaskSpec | Callback | Mapping[str, Any] | BareCallback
"""A task as a caller may write it: ``{"callback": …, "name", "meta"}``, or a callback alone."""

StrategyName = Strategy | Literal["sequential", "sequentially", "concurrent", "concurrently"]
"""A strategy as a caller may name it."""

PIECE = 1000
"""So many jobs are read ahead of those that were answered."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that Kafka has acknowledged in full.

    ``position`` maps each partition of the tasks topic to the highest offset that carries a slice of the job: with
    its text form a reader waits until PostgreSQL shows the job. ``job`` is the job as accepted, its times the
    submitter's.
    """

    id: UUID
    position: dict[int, int]
    job: Job

    @property
    def position_text(self) -> str:
        """Return the position as ``partition:offset,partition:offset``."""
        return write_position(self.position)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one of many jobs: it was ``submitted``, or there is an ``error``.

    ``number`` is its place among them, from 0. ``id`` is the job's, None when the job was so wrong that it has none. A
    job whose error is ``Unavailable`` may be in the log all the same: submit it again with this id.
    """

    number: int
    id: UUID | None
    submitted: Submitted | None = None
    error: RequestError | None = None

    def result(self) -> Submitted:
        """Return the submitted job, or raise the error."""
        if self.submitted is None:
            raise self.error or RuntimeError("neither submitted nor refused")
        return self.submitted


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked submission, cut into slices; nothing of it has been sent.

    ``named`` says that the submitter chose the id: it may be a repeat, and the ``digest`` tells whether it is.
    """

    job: Job
    slices: list[slices.EncodedSlice]
    named: bool = False

    @property
    def digest(self) -> str:
        """Return the digest of the submission."""
        return self.slices[0].digest

    @property
    def size(self) -> int:
        """Return how many bytes it has in the log."""
        return sum(len(one.text) for one in self.slices)


def document_of(
    tasks: TaskForm | Sequence[TaskForm],
    type: str,  # noqa: A002 — the name that every other face of a job has
    **given: Any,
) -> dict[str, Any]:
    """Return the arguments of ``create_job`` as the one document of a submission, without those that are None."""
    return {"tasks": tasks, "type": type} | {name: value for name, value in given.items() if value is not None}


def prepare(
    document: Any,
    limits: Limits,
    now: float,
    *,
    relayed: bool = False,
    by: str | None = None,
    services: Collection[str] | None = None,
) -> Prepared:
    """Check a submission and cut it into slices; without an ``id`` it gets a new one.

    ``now`` is in seconds since the epoch. ``relayed`` says that it comes from an outbox, ``by`` is the id
    of the key with which it came. ``services`` are those there are, as far as that is known here.

    Raises:
        InvalidRequest: names every wrong field.
        LimitExceeded: names what is larger than a limit.
    """
    spec = JobSpec.parse(document, limits)
    _check_filters(spec)
    if services is not None:
        _check_services(spec, services)
    if spec.id is not None:
        ids.check_job_id(spec.id, now)
    job = spec.id or ids.new_job_id(now)
    cut = slices.cut(spec, job, limits, relayed=relayed, by=by)
    return Prepared(_accepted(spec, job, now), cut, named=spec.id is not None)


def _check_filters(spec: JobSpec) -> None:
    """Refuse retry policies whose filters cannot be read; InvalidRequest names them all."""
    policies = [(f"tasks[{n}].retry", task.retry) for n, task in enumerate(spec.tasks) if task.retry is not None]
    if spec.retry is not None:
        policies.append(("retry", spec.retry))
    mistakes: list[FieldError] = []
    for path, policy in policies:
        for name in ("retry_on", "never_on"):
            for number, text in enumerate(getattr(policy, name) or ()):
                try:
                    parse_error_filter(text)
                except InvalidRequest as error:
                    mistakes.append(FieldError(f"{path}.{name}[{number}]", error.message))
    if mistakes:
        raise InvalidRequest(f"{len(mistakes)} invalid field{'s' if len(mistakes) > 1 else ''}", mistakes)


def _check_services(spec: JobSpec, services: Collection[str]) -> None:
    """Refuse calls of services that are not there; InvalidRequest names them all."""
    mistakes = [
        FieldError(f"tasks[{n}].callback.service", unknown_service(task.callback.service, services))
        for n, task in enumerate(spec.tasks)
        if task.callback.service not in services
    ]
    if mistakes:
        raise InvalidRequest(f"{len(mistakes)} invalid field{'s' if len(mistakes) > 1 else ''}", mistakes)


def _accepted(spec: JobSpec, job: UUID, now: float) -> Job:
    moment = datetime.fromtimestamp(now, UTC)
    return Job(
        id=job,
        name=spec.name,
        type=spec.type,
        status=JobStatus.PENDING,
        strategy=spec.strategy,
        meta=spec.meta,
        ended_at=None,
        inserted_at=moment,
        updated_at=moment,
    )


async def each(jobs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any]:
    """Return one job after the other, from whatever has them."""
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield job
    else:
        for job in jobs:
            yield job


def in_pieces(jobs: Iterable[Any], submit: Callable[[list[Any]], Iterable[Delivery]]) -> Iterator[Delivery]:
    """Submit jobs piece by piece, reading each when the one before is answered, in the thread of who takes answers."""
    rest, before = iter(jobs), 0
    while piece := list(islice(rest, PIECE)):
        for one in submit(piece):
            yield replace(one, number=before + one.number)
        before += len(piece)


def given_id(document: Any) -> UUID | None:
    """Return the id that a submission gives itself, if it is one."""
    given = document.get("id") if isinstance(document, Mapping) else None
    with suppress(ValueError):
        return UUID(str(given))
    return None
