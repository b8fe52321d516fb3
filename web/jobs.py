"""Jobs over HTTP: submit, get, list, search."""

from aiohttp.web import Request, Response

from jabba import filters
from jabba.errors import NotFound
from jabba.models import Job
from jabba.persistence import queries
from jabba.positions import read_position
from web import answers, requests
from web.api import ApiView, backends, read_body, read_search, respond

_GET_PARAMETERS = frozenset({"after", "wait"})
_TASKS_PARAMETERS = frozenset({"after", "cursor", "limit", "offset"})


class Jobs(ApiView):
    """``POST /v1/jobs`` submits a job; ``GET /v1/jobs?type=…`` lists the jobs with these very values."""

    view_name = "jobs"
    view_path = "/v1/jobs"

    async def post(self, request: Request) -> Response:
        """Answer 201 with the job and its position once it is accepted."""
        body = await read_body(request, backends(request).settings.request_bytes)
        return respond(answers.of_submission(await backends(request).submit(body)))

    async def get(self, request: Request) -> Response:
        """Answer a page of jobs, newest first."""
        search = requests.read_list(request.query.items(), filters.JOBS)
        return respond(answers.of_data(await queries.search_jobs(backends(request).database, search)))


class JobById(ApiView):
    """``GET /v1/jobs/{id}`` answers a job; with ``?after=POSITION`` the database has all of that submission.

    With ``?wait=SECONDS`` it answers as soon as the job has ended, or after that time.
    """

    view_name = "job"
    view_path = "/v1/jobs/{id}"

    async def get(self, request: Request, id: str) -> Response:  # noqa: A002 — as the path names it
        """Answer the job."""
        requests.refuse_unknown(request.query, _GET_PARAMETERS)
        seconds = requests.read_wait(request.query)
        job = await _job(request, id)
        if seconds and job.ended_at is None:
            ended = await backends(request).ended(job.id, seconds)
            job = ended or await backends(request).job(job.id, None)
        return respond(answers.of_data(job))


class ProgressOfJob(ApiView):
    """``GET /v1/jobs/{id}/progress`` answers how many tasks a job has, and how many of them have ended."""

    view_name = "job_progress"
    view_path = "/v1/jobs/{id}/progress"

    async def get(self, request: Request, id: str) -> Response:  # noqa: A002 — as the path names it
        """Answer the counts."""
        requests.refuse_unknown(request.query, frozenset())
        job = requests.read_job_id(id)
        progress = await queries.get_progress(backends(request).database, job)
        if progress is None:
            raise NotFound(f"there is no job {job}")
        return respond(answers.of_data(progress))


class TasksOfJob(ApiView):
    """``GET /v1/jobs/{id}/tasks?cursor=OFFSET,LIMIT`` answers a page of a job's tasks, in their order."""

    view_name = "job_tasks"
    view_path = "/v1/jobs/{id}/tasks"

    async def get(self, request: Request, id: str) -> Response:  # noqa: A002 — as the path names it
        """Answer the tasks."""
        requests.refuse_unknown(request.query, _TASKS_PARAMETERS)
        offset, limit = requests.read_page(request.query)
        job = await _job(request, id)
        return respond(answers.of_data(await queries.get_tasks(backends(request).database, job.id, offset, limit)))


class JobSearch(ApiView):
    """``POST /v1/jobs/search`` answers the jobs that meet every condition."""

    view_name = "job_search"
    view_path = "/v1/jobs/search"

    async def post(self, request: Request) -> Response:
        """Answer a page of jobs."""
        search = filters.parse_search(await read_search(request), filters.JOBS)
        return respond(answers.of_data(await queries.search_jobs(backends(request).database, search)))


class TaskSearch(ApiView):
    """``POST /v1/tasks/search`` answers the tasks that meet every condition."""

    view_name = "task_search"
    view_path = "/v1/tasks/search"

    async def post(self, request: Request) -> Response:
        """Answer a page of tasks."""
        search = filters.parse_search(await read_search(request), filters.TASKS)
        return respond(answers.of_data(await queries.search_tasks(backends(request).database, search)))


async def _job(request: Request, text: str) -> Job:
    after = read_position(request.query["after"], "after") if "after" in request.query else None
    return await backends(request).job(requests.read_job_id(text), after)
