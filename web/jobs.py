"""Jobs and tasks over HTTP: submit, get, list, search."""

from uuid import UUID

from aiohttp.web import Request, Response

from jabba import search
from jabba.auth.roles import Permission
from jabba.database import queries
from jabba.errors import Conflict, InvalidRequest, LimitExceeded, NotFound, RequestError, Unavailable
from jabba.jobs import models
from jabba.jobs.models import Job
from jabba.messages.positions import read_position
from web import requests, responses, schemas
from web.api import ApiView, backends, caller, read_body, read_search, respond
from web.operations import Example, Operation, operation
from web.parameters import AFTER, COUNT, CURSOR, FILTER, LIMIT, OFFSET, QUERY, WAIT, of_fields
from web.scopes import within

_ABOUT_ONE: tuple[type[RequestError], ...] = (NotFound, InvalidRequest, Unavailable)


class Jobs(ApiView):
    """``POST /v1/jobs`` submits a job; ``GET /v1/jobs?type=…`` lists the jobs with these very values, or ``?q=…``."""

    view_name = "jobs"
    view_path = "/v1/jobs"

    @operation(
        Operation(
            "Submit a job",
            "Answered once Kafka has all of it: from then on it runs, whatever happens to this process.",
            answer=schemas.Data[schemas.Accepted],
            needs=Permission.SUBMIT,
            status=201,
            body=schemas.Submission,
            errors=(Conflict, InvalidRequest, LimitExceeded, Unavailable),
            example=Example(
                body={
                    "type": "shipping",
                    "tasks": [
                        {"callback": ["local", "shop.callbacks", "pack", [17]], "name": "pack"},
                        ["local", "shop.callbacks", "ship", [17]],
                    ],
                    "strategy": "sequential",
                    "meta": {"order": 17},
                }
            ),
        )
    )
    async def post(self, request: Request) -> Response:
        """Return 201 with the job and its position once it is accepted."""
        body = await read_body(request, backends(request).settings.request_bytes)
        return respond(responses.of_submission(await backends(request).submit(body, caller(request))))

    @operation(
        Operation(
            "List jobs",
            "The newest first, those with these very values that meet the conditions in `q`.",
            answer=schemas.Paged[Job],
            needs=Permission.SEARCH,
            parameters=(QUERY, *of_fields(search.JOBS), CURSOR, OFFSET, LIMIT, COUNT),
            example=Example({"q": "status:PENDING meta.order>10", "type": "shipping", "limit": "10"}),
            more_parameters=True,
        )
    )
    async def get(self, request: Request) -> Response:
        """Return a page of jobs, newest first."""
        return await _page(request, requests.read_list(request.query.items(), search.JOBS))


class JobById(ApiView):
    """``GET /v1/jobs/{id}`` answers a job; with ``?after=POSITION`` the database has all of that submission.

    With ``?wait=SECONDS`` it answers as soon as the job has ended, or after that time.
    """

    view_name = "job"
    # The other paths of one part after it are routes of their own, of one method each.
    view_path = "/v1/jobs/{id:(?!(?:search|bulk)$)[^/]+}"

    @operation(
        Operation(
            "Get a job",
            "One that was submitted a moment ago is waited for, a little.",
            answer=schemas.Data[Job],
            needs=Permission.READ,
            parameters=(AFTER, WAIT),
            errors=_ABOUT_ONE,
            example=Example({"wait": "1"}),
        )
    )
    async def get(self, request: Request, id: str) -> Response:  # noqa: A002 — as the path names it
        """Return the job."""
        seconds = requests.read_wait(request.query)
        job = await _job(request, id)
        if seconds and job.ended_at is None:
            ended = await backends(request).ended(job.id, seconds)
            job = ended or await backends(request).job(job.id, None, caller(request).types)
        return respond(responses.of_data(job))


class ProgressOfJob(ApiView):
    """``GET /v1/jobs/{id}/progress`` answers how many tasks a job has, and how many of them have ended."""

    view_name = "job_progress"
    view_path = "/v1/jobs/{id}/progress"

    @operation(
        Operation(
            "Get how far a job has come",
            "How many tasks it has, how many of them have ended, and how many of those did not succeed.",
            answer=schemas.Data[models.Progress],
            needs=Permission.READ,
            errors=_ABOUT_ONE,
        )
    )
    async def get(self, request: Request, id: str) -> Response:  # noqa: A002 — as the path names it
        """Return the counts."""
        job = requests.read_job_id(id)
        progress = await queries.get_progress(backends(request).database, job, caller(request).types)
        if progress is None:
            raise NotFound(f"there is no job {job}")
        return respond(responses.of_data(progress))


class TasksOfJob(ApiView):
    """``GET /v1/jobs/{id}/tasks?q=…&cursor=OFFSET,LIMIT`` answers a page of a job's tasks, in their order."""

    view_name = "job_tasks"
    view_path = "/v1/jobs/{id}/tasks"

    @operation(
        Operation(
            "Get the tasks of a job",
            "A page of them in the order of the submission, or of those that meet the conditions.",
            answer=schemas.Paged[models.Task],
            needs=Permission.READ,
            parameters=(QUERY, FILTER, AFTER, CURSOR, OFFSET, LIMIT, COUNT),
            errors=_ABOUT_ONE,
            example=Example({"q": "status:PENDING,NEW", "cursor": "0,10"}),
        )
    )
    async def get(self, request: Request, id: str) -> Response:  # noqa: A002 — as the path names it
        """Return the tasks."""
        query = request.query
        written = query.get("filter"), query.getall("q", [])
        conditions = requests.read_conditions(*written, search.TASKS)
        of_job = search.tasks_of_job(requests.read_job_id(id), conditions, **requests.read_paging(query))
        await _job(request, id)
        return respond(responses.of_page(await queries.search_tasks(backends(request).database, of_job)))


class TaskById(ApiView):
    """``GET /v1/tasks/{id}``: a task with the history of its attempts."""

    view_name = "task"
    view_path = "/v1/tasks/{id:(?!search$)[^/]+}"

    @operation(
        Operation(
            "Get a task",
            "The task, and every attempt of it: when it began and ended, how, and on which worker.",
            answer=schemas.Data[models.TaskDetails],
            needs=Permission.READ,
            errors=_ABOUT_ONE,
        )
    )
    async def get(self, request: Request, id: str) -> Response:  # noqa: A002 — as the path names it
        """Return the task."""
        try:
            wanted = UUID(id)
        except ValueError as error:
            raise NotFound(f"there is no task {id!r}, since that is not a UUID") from error
        task = await queries.get_task(backends(request).database, wanted, caller(request).types)
        if task is None:
            raise NotFound(f"there is no task {wanted}")
        return respond(responses.of_data(task))


class JobSearch(ApiView):
    """``POST /v1/jobs/search`` answers the jobs that meet every condition."""

    view_name = "job_search"
    view_path = "/v1/jobs/search"

    @operation(
        Operation(
            "Search jobs",
            "The jobs that meet every condition.",
            answer=schemas.Paged[Job],
            needs=Permission.SEARCH,
            body=search.JOBS,
            errors=(InvalidRequest, LimitExceeded, Unavailable),
            example=Example(
                body={
                    "filter": [["status", "equal", "PENDING"], ["meta", None, [["order", "equal", 17]]]],
                    "query": "type:shipping",
                    "order_by": [["desc", "inserted_at"]],
                    "cursor": [0, 10],
                }
            ),
        )
    )
    async def post(self, request: Request) -> Response:
        """Return a page of jobs."""
        return await _page(request, search.parse_search(await read_search(request), search.JOBS))


class Tasks(ApiView):
    """``GET /v1/tasks?status=…`` lists the tasks with these very values."""

    view_name = "tasks"
    view_path = "/v1/tasks"

    @operation(
        Operation(
            "List tasks",
            "The newest first, those with these very values that meet the conditions in `q`.",
            answer=schemas.Paged[models.Task],
            needs=Permission.SEARCH,
            parameters=(QUERY, *of_fields(search.TASKS), CURSOR, OFFSET, LIMIT, COUNT),
            example=Example({"q": "status:FAILED,RESCUED job.type:audit_*", "count": "true"}),
            more_parameters=True,
        )
    )
    async def get(self, request: Request) -> Response:
        """Return a page of tasks, newest first."""
        return await _page(request, requests.read_list(request.query.items(), search.TASKS))


class TaskSearch(ApiView):
    """``POST /v1/tasks/search`` answers the tasks that meet every condition."""

    view_name = "task_search"
    view_path = "/v1/tasks/search"

    @operation(
        Operation(
            "Search tasks",
            "The tasks that meet every condition.",
            answer=schemas.Paged[models.Task],
            needs=Permission.SEARCH,
            body=search.TASKS,
            errors=(InvalidRequest, LimitExceeded, Unavailable),
            example=Example(body={"filter": [["status", "equal", "FAILED"]], "cursor": [0, 10]}),
        )
    )
    async def post(self, request: Request) -> Response:
        """Return a page of tasks."""
        return await _page(request, search.parse_search(await read_search(request), search.TASKS))


async def _page(request: Request, wanted: search.Search) -> Response:
    """Return what a search finds, of the types that the caller's key is limited to."""
    find = queries.search_jobs if wanted.collection is search.JOBS else queries.search_tasks
    return respond(responses.of_page(await find(backends(request).database, within(wanted, caller(request).types))))


async def _job(request: Request, text: str) -> Job:
    after = read_position(request.query["after"], "after") if "after" in request.query else None
    return await backends(request).job(requests.read_job_id(text), after, caller(request).types)
