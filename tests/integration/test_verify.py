"""The projection is compared with the log: a good one has no difference, and whatever is changed is named."""

import json
import time
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import text

from jabba.database.connection import Database
from jabba.errors import NotReady
from jabba.jobs.lifecycle import TaskSucceeded
from jabba.projection.projector import Projector
from jabba.projection.replay import Replay
from jabba.projection.statements import Offsets
from jabba.settings import Settings
from tests.support.clocks import HandClock
from tests.support.processes import jabba_process
from tests.support.projecting import version
from tests.support.sending import Sender, running, succeeded, working
from tests.support.verifying import (
    Load,
    forget_log,
    places,
    plant_differences,
    plant_strangers,
    project_all,
    send_load,
    verified,
)


@pytest.fixture
async def load(installed: Settings, sender: Sender) -> Load:
    """Jobs of every kind, projected."""
    load = await send_load(sender)
    await project_all(installed)
    return load


async def test_a_good_projection_has_no_difference_and_every_change_is_named(
    installed: Settings, load: Load, projection: Database
) -> None:
    report, found = await verified(installed)
    assert found == []
    assert (report.jobs, report.jobs_in_part, report.waiting) == (9, 0, {})
    assert report.tasks == 3 + 250 + 230 + 5 + 4 + 6 + 3 + 150 + 2

    wanted = await plant_differences(projection, load)
    phantom, orphan = await plant_strangers(projection, load)
    report, found = await verified(installed)
    assert places(found) == wanted | {(phantom, None, "row"), (orphan, 0, "row")}
    assert report.differences == len(found)
    assert report.different == {job for job, *_ in wanted} | {phantom, orphan}


async def test_work_that_goes_on_is_no_difference(installed: Settings, sender: Sender, load: Load) -> None:
    async with running(Projector(installed)), working(sender):
        reports = [await verified(installed) for _ in range(3)]

    assert [found for _, found in reports] == [[], [], []]
    counts = [report.jobs for report, _ in reports]
    assert counts == sorted(set(counts))


async def test_a_projection_that_goes_on_while_the_log_is_asked_is_of_the_same_log(
    installed: Settings, sender: Sender, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Replay.ends

    async def goes_on(replay: Replay) -> Offsets:
        found = await ends(replay)
        await sender.job(1)
        await project_all(installed)
        return found

    monkeypatch.setattr(Replay, "ends", goes_on)
    report, found = await verified(installed)
    assert (report.jobs, found) == (10, [])


async def test_what_postgresql_cannot_store_is_no_difference(installed: Settings, sender: Sender, load: Load) -> None:
    """The projector puts such messages aside; their neighbours are projected, and compared."""
    await sender.events([TaskSucceeded(load.waiting, 0, version(2**40), 1, {})])
    poison = TaskSucceeded(load.waiting, 0, version(1), 1, {"a": "REPLACE"})
    await sender.events([poison], replacing=(b"REPLACE", b"\\u0000"))
    await sender.events(succeeded(load.waiting, [1]))
    await project_all(installed)

    assert (await verified(installed))[1] == []


async def test_jobs_older_than_the_log_are_compared_as_far_as_it_goes(
    installed: Settings, sender: Sender, load: Load, projection: Database
) -> None:
    await forget_log(installed)
    await sender.events(succeeded(load.waiting, [0]))
    await sender.events([TaskSucceeded(load.running, 2, version(6), 1, {"n": 2})])
    for _ in range(20):
        await sender.job(1)
    young = await sender.job(2)
    await project_all(installed)
    report, found = await verified(installed)
    assert found == []
    assert report.jobs == 23
    # And those among the twenty that are older than what both partitions still have.
    assert 2 <= report.jobs_in_part < 20

    for statement, job in (
        ("UPDATE tasks SET status = 'FAILED' WHERE job_id = :job AND position = 0", load.waiting),
        ("UPDATE tasks SET result = '{}' WHERE job_id = :job AND position = 2", load.running),
        ("UPDATE tasks SET status = 'NEW' WHERE job_id = :job", young),
    ):
        await projection.fetch(text(statement), {"job": str(job)})
    _, found = await verified(installed)
    wanted = {(load.waiting, 0, "status"), (load.running, 2, "result"), (young, 0, "status")}
    assert places(found) == wanted


async def test_a_job_that_was_dropped_after_its_days_is_no_difference(
    installed: Settings, load: Load, projection: Database
) -> None:
    """Where the topics keep messages for longer than PostgreSQL keeps jobs."""
    for job, table in product((load.processed, load.waiting), ("jobs", "tasks")):
        column = "id" if table == "jobs" else "job_id"
        await projection.fetch(text(f"DELETE FROM {table} WHERE {column} = :job"), {"job": str(job)})  # noqa: S608
    week_and_days = HandClock(time.time() + 9 * 24 * 60 * 60)
    for keep_days, gone in (
        (8, {load.waiting}),
        (10, {load.waiting, load.processed}),
        (0, {load.waiting, load.processed}),
    ):
        settings = installed.model_copy(update={"keep_days": keep_days})
        assert (await verified(settings, clock=week_and_days))[0].different == gone


async def test_a_projection_that_is_behind_is_said_to_be(
    installed: Settings, sender: Sender, load: Load, tmp_path: Path, projection: Database
) -> None:
    """And what is projected is compared all the same."""
    await sender.job(1)
    verify = jabba_process("verify", "--wait", "0", "--json", environment=installed.as_environ(), log=tmp_path / "log")
    with verify:
        assert verify.start().wait_for_exit() == 3
        told = json.loads(verify.output().splitlines()[-1])
        assert (told["jobs"], told["differences"], [count for *_, count in told["waiting"]]) == (9, 0, [1])

        await projection.fetch(text("UPDATE jobs SET name = 'x' WHERE id = :job"), {"job": str(load.failed)})
        assert verify.start().wait_for_exit() == 1
        told = json.loads(verify.output().splitlines()[0])
        assert told == {"job": str(load.failed), "index": None, "column": "name", "log": None, "postgresql": "x"}

    shown = jabba_process("verify", "--wait", "0", environment=installed.as_environ(), log=tmp_path / "shown")
    with shown:
        assert shown.start().wait_for_exit() == 1
    assert f'job {load.failed}: name: log null, PostgreSQL "x"\n' in shown.output()
    assert "1 differences in 1 jobs" in shown.output()


async def test_a_projection_of_another_log_is_not_compared(
    installed: Settings, sender: Sender, projection: Database
) -> None:
    await projection.fetch(
        text("INSERT INTO projection_offsets VALUES (:topic, 0, 1000)"), {"topic": installed.topics.tasks}
    )
    with pytest.raises(NotReady, match="is another one"):
        await verified(installed)
