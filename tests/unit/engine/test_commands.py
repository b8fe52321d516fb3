"""What becomes of the offsets of commands."""

from uuid import uuid4

from jabba.engine.engine import Origin
from jabba.engine.offsets import Start
from jabba.engine.records import LaneName
from jabba.jobs.lifecycle import Strategy
from jabba.messages.commands import CloseJob
from tests.support.processes import eventually
from tests.unit.engine.test_loading import Worker, until_loaded


async def test_a_command_about_a_record_that_cannot_be_read_is_passed_over() -> None:
    """Every worker in turn would stand still at it."""
    worker = Worker()
    engine = worker.engine
    worker.table.release.set()
    worker.assign(1, [0])
    await until_loaded(worker, [0])
    engine.start_at(1, {0: Start(0, 0)}, {0: Start(0, 0)})
    bad, good = (
        CloseJob(job=uuid4(), run=0, n_slices=2, strategy=Strategy.SEQUENTIAL, reason="because") for _ in range(2)
    )
    await engine._owned[0].store.result().put(LaneName(bad.job, 0, 0).job_key, b"{")

    engine.apply(Origin(0, 0, 1, 10), [bad])
    engine.apply(Origin(0, 1, 1, 10), [good])

    async def are_done() -> bool:
        return engine.committable_commands() == {0: 2}

    await eventually(are_done, 5, "end of both commands")
    await engine.stop()
