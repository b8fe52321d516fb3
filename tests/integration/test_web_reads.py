from functools import partial
from typing import Any

import pytest
from aiohttp import ClientSession

from jabba.client import Client
from jabba.errors import InvalidRequest, NotFound
from jabba.jobs.pages import Count
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import get, post, serving
from web import backends

TASK = ["local", "shop", "ship", [1]]


async def test_behind_its_position_a_job_is_there_with_all_of_its_tasks(
    http: ClientSession, projector: Projector
) -> None:
    tasks = [{"callback": TASK, "name": f"n{number}", "meta": {"number": number}} for number in range(1000)]
    body = {"tasks": tasks, "type": "shipping", "strategy": "concurrent", "meta": {"☃": None}}
    _, accepted = await post(http, "/v1/jobs", body)
    position = accepted.pop("position")
    status, job = await get(http, f"/v1/jobs/{accepted['id']}", params={"after": position})
    assert status == 200
    same = [name for name in job if name not in ("inserted_at", "updated_at")]
    assert {name: job[name] for name in same} == {name: accepted[name] for name in same}
    assert list(job) == list(accepted)
    _, page = await get(http, f"/v1/jobs/{accepted['id']}/tasks?cursor=990,50")
    assert [(one["name"], one["meta"], one["priority"]) for one in page] == [
        (f"n{number}", {"number": number}, 0) for number in range(990, 1000)
    ]
    assert page[0]["callback"] == dict(zip(("service", "module", "function", "args"), TASK, strict=True))
    assert (page[0]["status"], page[0]["result"], page[0]["job_id"]) == ("PENDING", None, accepted["id"])


async def test_a_young_job_is_found_without_a_position(settings: Settings, projector: Projector) -> None:
    # Longer than the projector may take to join its group.
    async with serving(settings.model_copy(update={"visible_seconds": 60.0})) as http:
        for _ in range(20):
            _, accepted = await post(http, "/v1/jobs", {"tasks": TASK, "type": "shipping"})
            assert (await get(http, f"/v1/jobs/{accepted['id']}"))[0] == 200


async def test_a_position_that_the_projection_does_not_reach_is_told_after_a_while(
    http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "PROJECTION_SECONDS", 0.3)
    _, accepted = await post(http, "/v1/jobs", {"tasks": TASK, "type": "shipping"})
    status, error = await get(http, f"/v1/jobs/{accepted['id']}", params={"after": accepted["position"]})
    assert (status, error["type"]) == (503, "unavailable")


@pytest.mark.parametrize("position", ["0:99", "77:0", "0:1,3:99"])
async def test_a_position_that_is_not_in_the_log_is_refused(http: ClientSession, position: str) -> None:
    _, accepted = await post(http, "/v1/jobs", {"tasks": TASK, "type": "shipping"})
    status, error = await get(http, f"/v1/jobs/{accepted['id']}", params={"after": position})
    assert (status, [one["field"] for one in error["fields"]]) == (422, ["after"])


async def test_lists_and_searches_answer_what_was_asked(http: ClientSession, projector: Projector) -> None:
    accepted: dict[str, Any] = {}
    for number in range(6):
        body = {"tasks": [{"callback": TASK, "name": f"n{number}"}], "meta": {"request": {"id": number}}}
        _, accepted = await post(http, "/v1/jobs", body | {"type": "even" if number % 2 == 0 else "odd"})
        await get(http, f"/v1/jobs/{accepted['id']}", params={"after": accepted["position"]})

    def numbers(jobs: list[dict[str, dict[str, dict[str, int]]]]) -> list[int]:
        return [job["meta"]["request"]["id"] for job in jobs]

    assert numbers((await get(http, "/v1/jobs"))[1]) == [5, 4, 3, 2, 1, 0]
    assert numbers((await get(http, "/v1/jobs?type=odd&status=PENDING&cursor=1,1"))[1]) == [3]
    assert (await get(http, "/v1/jobs?type=none"))[1] == []
    search = {"filter": [["type", "equal", "even"]], "order_by": [["asc", "inserted_at"]], "cursor": [0, 2]}
    assert numbers((await post(http, "/v1/jobs/search", search))[1]) == [0, 2]
    nested = {"filter": [["meta", None, [["request", None, [["id", "equal", 4]]]]]]}
    assert numbers((await post(http, "/v1/jobs/search", nested))[1]) == [4]
    _, tasks = await post(http, "/v1/tasks/search", {"filter": [["job_id", "equal", accepted["id"]]]})
    assert [task["name"] for task in tasks] == ["n5"]


async def test_pages_follow_one_another(http: ClientSession, client: Client, projector: Projector) -> None:
    accepted: dict[str, Any] = {}
    for number in range(5):
        _, accepted = await post(http, "/v1/jobs", {"tasks": [TASK] * 3, "type": "paged", "meta": {"n": number}})
        await get(http, f"/v1/jobs/{accepted['id']}", params={"after": accepted["position"]})

    async def lengths(path: str, **parameters: str) -> list[int]:
        """Return how long the pages are that follow one another, all of different items."""
        found: list[list[str]] = []
        cursor = {"limit": "2"}
        while cursor:
            async with http.get(path, params={**parameters, **cursor}) as response:
                document = await response.json()
            found.append([one["id"] for one in document["data"]])
            cursor = {"cursor": document["next"]} if document["next"] else {}
        assert len({one for page in found for one in page}) == sum(map(len, found))
        return list(map(len, found))

    assert await lengths("/v1/jobs", type="paged") == [2, 2, 1]
    assert await lengths("/v1/jobs", q="type:pag* meta.n<4") == [2, 2]
    assert await lengths("/v1/tasks", q="job.meta.n>3 status:NEW,PENDING") == [2, 1]
    assert await lengths(f"/v1/jobs/{accepted['id']}/tasks") == [2, 1]
    page = await client.search_jobs("type:paged", [["asc", "meta"]], (0, 2), count=True)
    assert (page.total, page.next is not None) == (Count(value=5, exact=True), True)
    assert [job.meta["n"] async for job in client.iter_jobs("type:paged", [["asc", "meta"]], page_size=2)] == [
        *range(5)
    ]
    with pytest.raises(InvalidRequest) as refusal:
        await client.search_jobs("type:paged", cursor=page.next or "")
    assert [one.field for one in refusal.value.fields] == ["cursor"]
    status, error = await get(http, "/v1/jobs", params={"q": "type:paged state:x"})
    assert (status, [one["field"] for one in error["fields"]]) == (422, ["q[11]"])


async def test_the_tasks_of_a_job_that_meet_conditions_stand_in_their_order(
    http: ClientSession, client: Client, projector: Projector
) -> None:
    tasks = [{"callback": TASK, "name": f"n{number}"} for number in range(300)]
    submitted = await client.create_job(tasks, "shipping", strategy="concurrent")
    await client.get_job(submitted.id, after=submitted.position)
    wanted = [one["name"] for one in tasks if str(one["name"]) >= "n2"]

    for conditions in ("name>=n2", ["name", "greater_than_or_equal", "n2"]):
        page = await client.get_tasks(submitted.id, conditions, cursor=(0, 60), count=True)
        assert page.total == Count(value=len(wanted), exact=True)
        more = await client.get_tasks(submitted.id, conditions, cursor=(page.next or "", 1000))
        assert [task.name for task in (*page, *more)] == wanted
    for wrong, field in ({"q": "state:x"}, "q[0]"), ({"filter": '[["state", "equal", 1]]'}, "filter[0][0]"):
        status, error = await get(http, f"/v1/jobs/{submitted.id}/tasks", params=wrong)
        assert (status, [one["field"] for one in error["fields"]]) == (422, [field])


async def test_the_python_client_asks_the_same(http: ClientSession, client: Client, projector: Projector) -> None:
    submitted = await client.create_job([TASK] * 3, "shipping", strategy="concurrent", meta={"request_id": "r1"})
    job = await client.get_job(submitted.id, after=submitted.position)
    assert (job.id, job.strategy, job.meta) == (submitted.id, "CONCURRENTLY", {"request_id": "r1"})
    assert [task.job_id for task in await client.get_tasks(job.id)] == [job.id] * 3
    assert await client.search_jobs([["id", "equal", str(job.id)]]) == [job]
    assert len(await client.search_tasks([["job_id", "equal", job.id]], [["asc", "id"]], (1, 10))) == 2
    with pytest.raises(NotFound):
        await client.get_job("nobody")
    with pytest.raises(InvalidRequest) as refusal:
        await client.search_jobs([["colour", "equal", "red"]])
    assert [one.field for one in refusal.value.fields] == ["filter[0][0]"]
    no_list: Any = {"status": "FAILED"}
    for ask in (client.search_jobs, partial(client.get_tasks, job.id)):
        with pytest.raises(InvalidRequest) as refusal:
            await ask(no_list)
        assert [one.field for one in refusal.value.fields] == ["filter"]
    with pytest.raises(TimeoutError):
        await client.wait(submitted, timeout=0.3)
