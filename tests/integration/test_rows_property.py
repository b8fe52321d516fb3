"""Whatever is read in whatever batches, the account of the rows in Python agrees with PostgreSQL.

Events of a job come in their order, as one partition has them; its slices may come between them anywhere.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jabba.database.connection import Database
from jabba.jobs.lifecycle import Event, JobClosed, TasksAborted, TaskSucceeded, Version
from jabba.projection.fold import Fact, fold
from jabba.projection.reference import Rows
from jabba.projection.verify.compare import JobRows, differences
from tests.integration.test_projector_property import History, histories
from tests.support.projecting import NOW, job_row, project, task_rows


@st.composite
def readings(draw: st.DrawFn) -> tuple[History, list[list[Fact]]]:
    """Return a job, and batches in which its messages are read; some slices may be missing, and the job closed."""
    history = draw(histories())
    events = _with_more(history, draw)
    slices = draw(st.lists(st.sampled_from(history.slices), min_size=1, max_size=6))
    order = [*events]
    for slice_ in slices:
        order.insert(draw(st.integers(0, len(order))), slice_)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=5)))
    return history, [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def _with_more(history: History, draw: st.DrawFn) -> list[Fact]:
    """Put closings among the events, and what a next owner of the partition tells again."""
    told = list(history.events)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(told)))
        at = told[place - 1].at if place else NOW
        told.insert(place, Fact(JobClosed(history.job, Version(0, 1, 0), "closed"), at))
    again_too: bool = draw(st.booleans())
    if told and again_too:
        again = draw(st.sampled_from(told))
        told.append(Fact(_later(again.content), told[-1].at + draw(st.integers(0, 2))))
    return told


def _later(content: object) -> Event | JobClosed:
    assert isinstance(content, Event | JobClosed)
    if isinstance(content, TasksAborted):
        return TasksAborted(content.job, content.index, Version(0, 99, 1), content.count)
    if isinstance(content, JobClosed):
        return JobClosed(content.job, Version(0, 99, 1), content.reason)
    return TaskSucceeded(content.job, content.index, Version(0, 99, 1), 1, {"later": True})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reading=readings())
async def test_the_account_in_python_agrees_with_postgresql(
    projection: Database, reading: tuple[History, list[list[Fact]]]
) -> None:
    history, batches = reading
    job, step_by_step, at_once = history.job, Rows(), Rows()
    for batch in batches:
        await project(projection, batch)
        step_by_step.write(fold(batch))
    at_once.write(fold(fact for batch in batches for fact in batch))

    tasks = {row["position"]: row for row in await task_rows(projection, job)}
    live = JobRows(await job_row(projection, job), tasks)
    for rows in (step_by_step, at_once):
        account = JobRows(rows.jobs[job], {row["position"]: row for row in rows.tasks.values()})
        assert list(differences(job, account, live)) == []
