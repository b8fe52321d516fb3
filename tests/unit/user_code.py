"""Code as users of the library write it, for mypy: a line that must not pass has the error that it must give."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import jabba
from jabba.search import where

TASK = ("local", "shop.callbacks", "ship", [17])


async def submits(client: jabba.Client, producer: jabba.Producer) -> UUID:
    await client.create_job(TASK, "shipping")
    await client.create_job(["local", "shop.callbacks", "ship", [17]], "shipping")
    await client.create_job([TASK, ("local", "shop.callbacks", "pack")], "shipping", strategy="concurrent")
    await client.create_job({"callback": TASK, "name": "ship"}, "shipping", meta={"order": 17}, name="one")
    await client.create_job([{"callback": ["local", "shop.callbacks", "ship"]}], "shipping", strategy="sequentially")
    callback = jabba.Callback(service="local", module="shop.callbacks", function="ship", args=[17])
    await client.create_job(
        [callback, jabba.TaskSpec(callback=callback)], "shipping", strategy=jabba.Strategy.CONCURRENT
    )
    await client.create_job(TASK)  # E: Missing positional argument "type"
    await client.create_job("ship", "shipping")  # E: Argument 1 to "create_job"
    await client.create_job(TASK, "shipping", "concurrent")  # E: Too many positional arguments
    await client.create_job(TASK, "shipping", strategy="parallel")  # E: Argument "strategy"
    await client.create_job(TASK, "shipping", meta=["order"])  # E: Argument "meta"
    await client.create_job(TASK, "shipping", priority=3)  # E: Unexpected keyword argument "priority"
    await producer.create_job((1, 2, 3), "shipping")  # E: Argument 1 to "create_job"
    submitted = await producer.create_job(TASK, "shipping", id="01a209c9-653a-759d-9e2f-780696e9f381")
    submitted.posiiton  # E: "Submitted" has no attribute "posiiton"
    return submitted.id


async def submits_many(client: jabba.Client, producer: jabba.Producer) -> list[UUID]:
    async def jobs() -> AsyncIterator[dict[str, Any]]:
        yield {"tasks": TASK, "type": "shipping"}

    async for delivery in client.create_jobs(jobs()):
        delivery.submitted.id  # E: has no attribute "id"
        if delivery.error is not None:
            print(delivery.number, delivery.error.fields[0].field, delivery.error.type)
    await client.create_jobs(jobs())  # E: Incompatible types in "await"
    client.create_jobs(7)  # E: Argument 1 to "create_jobs"
    return [one.result().id async for one in producer.submit_many([{"tasks": TASK, "type": "shipping"}])]


async def asks(client: jabba.Client, submitted: jabba.Submitted) -> str | None:
    job = await client.get_job(submitted.id, after=submitted.position)
    job.status = "FAILED"  # E: Incompatible types in assignment
    job.state  # E: "Job" has no attribute "state"
    await client.get_job(17)  # E: Argument 1 to "get_job"
    await client.get_job(submitted.id, after="0:1")  # E: Argument "after"
    ended = await client.wait(submitted, timeout=5)
    ended.ended_at.isoformat()  # E: has no attribute "isoformat"
    return job.name


async def searches(client: jabba.Client) -> list[str]:
    failed = (where.jobs.status == "FAILED") & ~where.jobs.type.starts_with("audit_")
    late = where.jobs.tasks.any(where.tasks.attempt > 1, where.tasks.name.like("mail"))
    page = await client.search_jobs(failed | late, [["desc", "ended_at"]], (0, 100), count=True)
    if page.next is not None and page.total is not None:
        await client.search_jobs("status:FAILED", cursor=page.next)
        await client.search_jobs(
            [failed, ("meta", None, [("order", "equal", 17)])], cursor=(page.next, page.total.value)
        )
    async for task in client.iter_tasks(where.tasks.result["paid"] == None):  # noqa: E711 — becomes a condition
        print(task.priority)
    where.tasks.priority > "high"  # E: Unsupported operand types for >
    where.jobs.inserted_at.like("2026")  # E: has no attribute "like"
    where.jobs.state == "FAILED"  # E: "Jobs" has no attribute "state"
    await client.search_jobs({"status": "FAILED"})  # E: Argument 1 to "search_jobs"
    await client.search_jobs(failed, cursor=10)  # E: Argument "cursor"
    return [job.type for job in page]


async def watches(client: jabba.Client, submitted: jabba.Submitted) -> jabba.TaskStatus | None:
    async for event in client.watch(submitted, timeout=30.0):
        if event.index is None and event.final is not None:
            print(event.final.status)
        return event.status
    for event in client.watch(submitted):  # E: "AsyncGenerator[JobEvent, None]" has no attribute "__iter__"
        pass
    return None


def without_an_event_loop(client: jabba.SyncClient, producer: jabba.SyncProducer) -> Iterator[UUID]:
    yield client.create_job(TASK, "shipping", strategy="concurrently").id
    yield from (one.result().id for one in client.create_jobs([{"tasks": TASK, "type": "shipping"}]))
    yield from (one.result().id for one in producer.create_jobs({"tasks": TASK, "type": "t"} for _ in range(3)))
    print([event.event for event in client.watch("01a209c9-653a-759d-9e2f-780696e9f381")])
    print(client.wait(client.submit({"tasks": TASK, "type": "t"}), timeout=1.0).meta["order"])
    client.create_job(TASK, "shipping", strategy="none")  # E: Argument "strategy"
    client.get_job(None)  # E: Argument 1 to "get_job"
    jabba.SyncClient("http://127.0.0.1:8600", conections=5)  # E: Unexpected keyword argument "conections"


def tells(error: jabba.RequestError) -> list[str]:
    if isinstance(error, jabba.Unavailable | jabba.Conflict):
        return [error.type, error.message, str(error.status)]
    error.reason  # E: "RequestError" has no attribute "reason"
    return [f"{one.field}: {one.message}" for one in error.fields]


@jabba.callback
async def ship(order: int) -> dict[str, int]:
    return {"shipped": order, "attempt": jabba.current_task().attempt}
