"""What the messages about one job amount to, and whether they are all there are. No I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import JobClosed, TasksAborted
from jabba.messages.decoding import decode_documents, decode_each
from jabba.messages.slices import Slice
from jabba.projection.decode import Intake, Message, Place
from jabba.projection.fold import Batch, Content, Fact, ImpossibleFact, fold
from jabba.projection.reference import Rows
from jabba.projection.verify.compare import JobRows
from jabba.projection.verify.external_sort import Entry

_LARGEST_INTEGER = 2**31 - 1
"""What a column of PostgreSQL's type ``integer`` takes."""

_NUL = b"\\u0000"


@dataclass(frozen=True, slots=True)
class Account:
    """What the log amounts to, for one job; ``complete`` tells whether all slices of its first submission are there."""

    rows: JobRows
    complete: bool


def entries(message: Message, *, are_events: bool) -> Iterator[Entry]:
    """Take a message apart by job; what cannot be read as far as that belongs to none, and is left out."""
    documents, _ = decode_each(message.value or b"", decode_documents, json_codec.decode)
    told: dict[bytes, list[Any]] = {}
    for document in documents:
        if (job := _job(document)) is not None:
            told.setdefault(job, []).append(document)
    for job, of_job in told.items():
        yield Entry(job, are_events, message.place.partition, message.place.offset, message.at, to_json(of_job))


def account(job: UUID, said: Iterable[Entry], digest: str | None) -> Account:
    """Return what entries about a job amount to.

    ``digest`` is that of the submission which the projection knows under this id; slices of any other are refused, as
    the projector refuses them. So is whatever PostgreSQL cannot store.
    """
    facts = [fact for fact in _facts(said) if _storable(fact.content)]
    batch = _folded(facts, digest)
    rows = Rows()
    rows.write(batch)
    tasks = {row["position"]: row for row in rows.tasks.values()}
    return Account(JobRows(rows.jobs.get(job), tasks), _is_complete(facts))


def _facts(said: Iterable[Entry]) -> Iterator[Fact]:
    for entry in said:
        intake = Intake()
        read = intake.read_events if entry.is_event else intake.read_slices
        read(Message(Place("", entry.partition, entry.offset), entry.at, entry.text))
        for item in intake.items:
            if _NUL not in entry.text or _has_no_nul(item.fact.content):
                yield item.fact


def _folded(facts: list[Fact], digest: str | None) -> Batch:
    """Fold what can be folded, with the slices of one submission alone."""
    try:
        return fold(_of_one_submission(facts, digest))
    except ImpossibleFact:
        return fold(_of_one_submission([fact for fact in facts if _is_possible(fact)], digest))


def _of_one_submission(facts: Iterable[Fact], digest: str | None) -> Iterator[Fact]:
    for fact in facts:
        if isinstance(fact.content, Slice):
            digest = digest or fact.content.digest
            if fact.content.digest != digest:
                continue
        yield fact


def _is_possible(fact: Fact) -> bool:
    try:
        fold([fact])
    except ImpossibleFact:
        return False
    return True


def _is_complete(facts: Iterable[Fact]) -> bool:
    slices = [fact.content for fact in facts if isinstance(fact.content, Slice) and not fact.content.run]
    return bool(slices) and len({one.k for one in slices}) >= slices[0].n_slices


def _storable(content: Content) -> bool:
    return max(_integers(content)) <= _LARGEST_INTEGER


def _integers(content: Content) -> tuple[int, ...]:
    if isinstance(content, Slice):
        return content.run, content.n_slices, content.total
    if isinstance(content, JobClosed):
        return content.version
    count = content.count if isinstance(content, TasksAborted) else 1
    return *content.version, content.index + count, getattr(content, "attempt", 1)


def _has_no_nul(content: Content) -> bool:
    told = content.model_dump() if isinstance(content, Slice) else [getattr(content, "result", None)]
    reason = content.reason if isinstance(content, JobClosed) else None
    try:
        json_codec.refuse_unstorable([told, reason], "")
    except InvalidRequest:
        return False
    return True


def _job(document: Any) -> bytes | None:
    try:
        return UUID(document["job"]).bytes
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
